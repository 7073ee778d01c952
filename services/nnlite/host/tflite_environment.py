"""Finds the phones' version of TensorFlow Lite that artifacts are checked with on this machine.

Either the library of the APK, which this Python loads, or that of TensorFlow, which needs an old numpy and
protobuf and so a separate environment, which only its own Python imports from.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nnlite.host.tflite_arm64 import RUN_ARTIFACT, emulated
from nnlite.host.tflite_library import LIBRARY
from nnlite.settings import PREFIX, Settings, SettingsError

#: How long that Python may take to print the version, seconds.
_VERSION_TIMEOUT_S: Final = 30.0
_TENSORFLOW_VERSION: Final = """
from importlib.metadata import PackageNotFoundError, version
for name in ("tensorflow-cpu", "tensorflow"):
    try:
        print(version(name))
        break
    except PackageNotFoundError:
        pass
"""
_LIBRARY_VERSION: Final = """
import sys
from pathlib import Path
from nnlite.host.tflite_library import TfliteLibrary
print(TfliteLibrary(Path(sys.argv[1])).version)
"""
#: Marks checks by the APK's library: TensorFlow of the same version is another build.
APK_SUFFIX: Final = "+apk"
#: Marks those by its library for phones' own processors, which have other kernels.
ARM64_SUFFIX: Final = "+apk-arm64"
#: Architectures by their number in an ELF header (elf.h).
_MACHINES: Final = {3: "x86", 40: "arm", 62: "x86-64", 183: "arm64", 243: "riscv"}
_ELF_MACHINE: Final = slice(18, 20)
_MAKE_LIBRARY: Final = "build it with `make runtime-check` in a checkout"
_MAKE_ENVIRONMENT: Final = "make one with `make runtime-check-tensorflow` in a checkout"


@dataclass(frozen=True, kw_only=True)
class RuntimeEnvironment:
    """A Python with the phones' TensorFlow Lite."""

    python: Path
    #: Of TensorFlow, and so of its TensorFlow Lite; of the APK's library with `APK_SUFFIX` or `ARM64_SUFFIX`.
    version: str
    #: Folder of the APK's library and its shim; None: TensorFlow's own.
    library: Path | None = None

    @property
    def place(self) -> Path:
        """Folder of the library, or the Python."""
        return self.library or self.python


def runtime_environment(settings: Settings) -> RuntimeEnvironment | None:
    """Return what artifacts are checked with; None: checks are off.

    Raises:
        SettingsError: a setting does not name such a library or environment.
    """
    checks = settings.runtime_check
    if checks.runtime == "apk" or (checks.runtime == "auto" and checks.library is not None):
        return _of_apk(checks.library)
    if checks.runtime == "tensorflow" and checks.environment is None:
        raise SettingsError(
            f"{PREFIX}RUNTIME_CHECK__RUNTIME=tensorflow needs {PREFIX}RUNTIME_CHECK__ENVIRONMENT, an "
            f"environment with TensorFlow; {_MAKE_ENVIRONMENT} and name it there"
        )
    return None if checks.environment is None else _of_tensorflow(checks.environment)


def needed_environment(settings: Settings) -> RuntimeEnvironment:
    """Return what artifacts are checked with; raises SettingsError if it is not configured, or unusable."""
    environment = runtime_environment(settings)
    if environment is None:
        raise SettingsError(
            f"{PREFIX}RUNTIME_CHECK__LIBRARY is not set, the folder of the app's TensorFlow Lite for this "
            f"host; {_MAKE_LIBRARY} and name it there"
        )
    return environment


def _of_apk(named: Path | None) -> RuntimeEnvironment:
    if named is None:
        raise SettingsError(
            f"{PREFIX}RUNTIME_CHECK__RUNTIME=apk needs {PREFIX}RUNTIME_CHECK__LIBRARY, the folder of the "
            f"app's TensorFlow Lite for this host; {_MAKE_LIBRARY} and name it there"
        )
    folder = named.expanduser().absolute()
    try:
        of_library, of_python = _machine(folder / LIBRARY), _machine(Path("/proc/self/exe"))
    except OSError as error:
        raise _unusable("LIBRARY", named, f"{error.strerror}: {error.filename}", _MAKE_LIBRARY) from error
    if of_library == "arm64" != of_python and (folder / RUN_ARTIFACT).exists():
        try:
            command = emulated(folder)
        except FileNotFoundError as error:
            raise _unusable("LIBRARY", named, str(error), "install Debian's qemu-user") from error
        printed = _printed([*command, folder], "LIBRARY", named, _MAKE_LIBRARY)
        return RuntimeEnvironment(python=Path(sys.executable), version=printed + ARM64_SUFFIX, library=folder)
    if of_library != of_python:
        raise _unusable(
            "LIBRARY",
            named,
            f"{LIBRARY} is for {of_library}, this machine is {of_python}",
            f"set {PREFIX}RUNTIME_CHECK__RUNTIME=tensorflow and {PREFIX}RUNTIME_CHECK__ENVIRONMENT",
        )
    python = Path(sys.executable)
    printed = _printed([python, "-I", "-c", _LIBRARY_VERSION, folder], "LIBRARY", named, _MAKE_LIBRARY)
    return RuntimeEnvironment(python=python, version=printed + APK_SUFFIX, library=folder)


def _of_tensorflow(named: Path) -> RuntimeEnvironment:
    python = named.expanduser() / "bin" / "python"
    printed = _printed([python, "-I", "-c", _TENSORFLOW_VERSION], "ENVIRONMENT", named, _MAKE_ENVIRONMENT)
    if not printed:
        raise _unusable("ENVIRONMENT", named, "TensorFlow is not installed in it", _MAKE_ENVIRONMENT)
    return RuntimeEnvironment(python=python, version=printed)


def _printed(command: Sequence[str | Path], setting: str, named: Path, hint: str) -> str:
    """Return what a program prints; raises SettingsError with its last error line."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unusable(setting, named, f"{command[0]} does not run: {error}", hint) from error
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise _unusable(setting, named, last or f"it ended with {done.returncode}", hint)
    return done.stdout.strip()


def _machine(elf: Path) -> str:
    """Return the architecture of an ELF file."""
    with elf.open("rb") as file:
        header = file.read(_ELF_MACHINE.stop)
    if not header.startswith(b"\x7fELF"):
        return "no program"
    number = int.from_bytes(header[_ELF_MACHINE], "little")
    return _MACHINES.get(number, f"ELF machine {number}")


def _unusable(setting: str, named: Path, why: str, hint: str) -> SettingsError:
    return SettingsError(f"{PREFIX}RUNTIME_CHECK__{setting}={named}: {why}; {hint}, or set none")
