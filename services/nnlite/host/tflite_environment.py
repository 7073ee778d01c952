"""Finds the Python environment with the phones' version of TensorFlow Lite, and that version.

It needs an old numpy and protobuf, so it has a separate environment, which only its own Python imports from.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nnlite.settings import PREFIX, Settings, SettingsError

#: How long that Python may take to print the version, seconds.
_VERSION_TIMEOUT_S: Final = 30.0
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
        SettingsError: the setting does not name such an environment.
    """
    folder = settings.runtime_check.environment
    if folder is None:
        return None
    python = folder.expanduser() / "bin" / "python"
    try:
        printed = subprocess.run(
            [python, "-I", "-c", _VERSION],
            capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unusable(folder, f"{python} does not run: {error}") from error
    if printed.returncode or not printed.stdout.strip():
        last = printed.stderr.strip().rpartition("\n")[2]
        raise _unusable(folder, last or "TensorFlow is not installed in it")
    return RuntimeEnvironment(python=python, version=printed.stdout.strip())


def needed_environment(settings: Settings) -> RuntimeEnvironment:
    """Return the environment; raises SettingsError if it is not configured, or unusable."""
    environment = runtime_environment(settings)
    if environment is None:
        raise SettingsError(
            f"{PREFIX}RUNTIME_CHECK__ENVIRONMENT is not set; make an environment with `make runtime-check` "
            "in a checkout and name it there"
        )
    return environment


def _unusable(folder: Path, why: str) -> SettingsError:
    return SettingsError(
        f"{PREFIX}RUNTIME_CHECK__ENVIRONMENT={folder}: {why}; "
        "make one with `make runtime-check` in a checkout, or set none"
    )
