"""Which runtimes of hosts this machine has."""

import subprocess
import sys
from importlib.metadata import distributions, version
from importlib.util import find_spec

from nnlite.backends import HostRuntime
from nnlite.host.child_process import how_it_ended
from nnlite.host.installation import install_hint
from nnlite.host.tflite_library import LIBRARY
from nnlite.settings import Settings


def missing(runtime: HostRuntime, settings: Settings) -> str | None:
    """Return what a runtime needs that is not here, and what to do; None: everything is here.

    That includes what makes its artifacts.
    """
    if runtime.distribution is None or runtime.extra is None:
        folder = settings.runtime_check.library
        if folder is not None and (folder.expanduser() / LIBRARY).is_file():
            return None
        return f"{LIBRARY} not found in {folder or 'any folder'}; {runtime.hint}"
    needed = dict.fromkeys([runtime.distribution, *runtime.exporters])
    absent = [name for name in needed if not any(distributions(name=name))]
    return f"{', '.join(absent)} not installed; {install_hint(runtime.extra)}" if absent else None


def found(runtime: HostRuntime, settings: Settings) -> str:
    """Return a runtime's name with its version, or the folder that it is in."""
    where = runtime.distribution and version(runtime.distribution)
    return f"{runtime.name} {where or f'in {settings.runtime_check.library}'}"


def import_problem(runtime: HostRuntime, timeout_s: float) -> str | None:
    """Return why a runtime that is installed cannot be imported, tried in another process; None: it can."""
    if runtime.distribution is None or find_spec("nnlite_benchmark") is None:
        return None
    installed = f"{version(runtime.distribution)} is installed"
    command = [sys.executable, "-P", "-c", f"import nnlite_benchmark.host.{runtime.session}"]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return f"{installed}, and was not imported within {timeout_s:.0f} s"
    if tried.returncode == 0:
        return None
    lines = tried.stderr.strip().splitlines() or [f"Python {how_it_ended(tried.returncode)}"]
    return f"{installed}, and cannot be imported: {lines[-1]}"
