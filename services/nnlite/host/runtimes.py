"""Which runtimes of hosts this machine has."""

from importlib.metadata import distributions, version

from nnlite.backends import HostRuntime
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
