"""The environment that has the phones' version of TensorFlow Lite: where it is, and which version it is.

That version wants an old numpy and protobuf, so it never shares an environment with anything of ours; it is
only asked by its own Python.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nnlite.settings import PREFIX, Settings, SettingsError

#: Longest that a Python may take to say what is installed beside it, seconds.
ASK_TIMEOUT_S: Final = 30.0
_VERSION: Final = """
from importlib.metadata import PackageNotFoundError, version
for name in ("tensorflow-cpu", "tensorflow"):
    try:
        print(version(name))
        break
    except PackageNotFoundError:
        pass
"""


@dataclass(frozen=True, kw_only=True)
class RuntimeEnvironment:
    """A Python with TensorFlow."""

    python: Path
    #: Of TensorFlow, and so of its TensorFlow Lite.
    version: str


def runtime_environment(settings: Settings) -> RuntimeEnvironment | None:
    """Return the environment that artifacts are checked in; None: checks are off.

    Raises:
        SettingsError: the setting names something else.
    """
    folder = settings.runtime_check.environment
    if folder is None:
        return None
    python = folder.expanduser() / "bin" / "python"
    try:
        asked = subprocess.run(
            [python, "-I", "-c", _VERSION],
            capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unusable(folder, f"{python} does not run: {error}") from error
    if asked.returncode or not asked.stdout.strip():
        last = asked.stderr.strip().rpartition("\n")[2]
        raise _unusable(folder, last or "TensorFlow is not installed in it")
    return RuntimeEnvironment(python=python, version=asked.stdout.strip())


def needed_environment(settings: Settings) -> RuntimeEnvironment:
    """Return the environment for who cannot do without it; raises as `runtime_environment` does."""
    found = runtime_environment(settings)
    if found is None:
        raise SettingsError(
            f"{PREFIX}RUNTIME_CHECK__ENVIRONMENT is not set; make an environment with `make runtime-check` "
            "and name it there"
        )
    return found


def _unusable(folder: Path, why: str) -> SettingsError:
    return SettingsError(
        f"{PREFIX}RUNTIME_CHECK__ENVIRONMENT={folder}: {why}; make one with `make runtime-check`, or set none"
    )
