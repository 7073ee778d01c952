"""Checks for what would keep a cluster from starting; nothing is changed.

Every function yields problems, each a line that names the thing and the remedy.
Run as root, it checks permissions for the workers' account.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from nnlite.errors import NnliteError, did_you_mean
from nnlite.settings.passwords import password_in

_GB: Final = 1e9
#: As many entries of a folder are looked at; a fault of ownership shows in the first of them.
_LOOKED_AT: Final = 1000
#: KVM_CREATE_VM of linux/kvm.h.
_CREATE_VM: Final = 0xAE01


@contextmanager
def judging_for(uid: int | None) -> Iterator[None]:
    """Let what is looked at inside be judged for account `uid` and the group of the same number.

    Raises:
        NnliteError: this process may not take another account.
    """
    if uid is None or uid == os.geteuid():
        yield
        return
    gid, groups = os.getegid(), os.getgroups()
    try:
        os.setgroups([group for group in groups if group != 0])
        os.setegid(uid)
        os.seteuid(uid)
    except PermissionError as error:
        raise NnliteError(
            f"account {os.geteuid()} cannot judge for another; run the check as root"
        ) from error
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def secret_problems(named: str, file: Path, min_length: int, examples: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with a file that holds a password.

    Args:
        named: how the user knows it, for messages.
        examples: passwords of the examples, which must have been replaced.
    """
    hint = (
        "write a password of your own, such as `openssl rand -hex 24` makes, and make the containers again, "
        "which keep the old one: docker compose up --detach --force-recreate"
    )
    try:
        password = password_in(file, named)
    except NnliteError as error:
        yield str(error)
        return
    if password in examples:
        yield f"{named} is still the example's; {hint}"
    elif len(password) < min_length:
        yield f"{named} has {len(password)} characters, at least {min_length} are needed; {hint}"


def disk_problems(folder: Path, min_free_gb: float) -> Iterator[str]:
    """Yield what is wrong with the space that is left for `folder`."""
    try:
        free_gb = shutil.disk_usage(folder).free / _GB
    except OSError as error:
        yield f"{folder}: {error.strerror}; mount the volume there"
        return
    if free_gb < min_free_gb:
        yield (
            f"{folder} has {free_gb:.1f} GB free, {min_free_gb:g} GB are needed; "
            "make room, or move it to a larger disk"
        )


def folder_problems(folder: Path) -> Iterator[str]:
    """Yield why the account that is judged for cannot keep files in `folder` or use those that are there."""
    uid = os.geteuid()
    hint = f"give it all that is there: chown -R {uid}:{uid} {folder}"
    if not folder.is_dir():
        yield f"{folder} is no folder; mount the volume there"
    elif not _usable(folder):
        yield f"{folder} is closed to account {uid}; {hint}"
    else:
        for entry in islice(folder.rglob("*"), _LOOKED_AT):
            with suppress(FileNotFoundError):  # those that work there may just have removed it
                owner = entry.lstat().st_uid
                if owner != uid and not entry.is_symlink() and not _usable(entry):
                    yield f"{entry} belongs to account {owner} and is closed to account {uid}; {hint}"
                    return


def postgres_problems(folder: Path, major: int) -> Iterator[str]:
    """Yield why Postgres of version `major` could not start on the data below `folder`; none is fine."""
    try:
        os.listdir(folder)  # noqa: PTH208  (only whether it can be listed counts: a glob passes over what cannot)
        files = [file for depth in ("", "*/", "*/*/") for file in folder.glob(f"{depth}PG_VERSION")]
        found = {file.read_text().strip() for file in files}
    except OSError as error:
        yield f"{error.filename}: {error.strerror}; mount the volume of Postgres and check as root"
        return
    if found and str(major) not in found:
        yield (
            f"{folder} has data of Postgres {', '.join(sorted(found))}, this is Postgres {major}: "
            "dump it with the version that made it, and restore the dump into an empty volume"
        )


def profile_problems(chosen: Collection[str], known: Collection[str]) -> Iterator[str]:
    """Yield every chosen profile that compose does not have."""
    for profile in chosen:
        if profile not in known:
            hint = did_you_mean(profile, sorted(known)) or f"; there are {', '.join(sorted(known))}"
            yield f"COMPOSE_PROFILES has an unknown profile {profile}{hint}"


def kvm_problem(device: Path = Path("/dev/kvm")) -> str | None:
    """Return why no virtual machine can be made here, or None: the device file alone proves nothing."""
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return (
            f"there is no {device}: switch virtualization on in the machine's firmware "
            "(in a virtual machine: nested virtualization) and load kvm_intel or kvm_amd"
        )
    except PermissionError as error:
        if error.errno == errno.EPERM:
            return f"{device} is closed to this container; give it the device"
        status = device.stat()
        return (
            f"{device} (mode {status.st_mode & 0o777:04o}, group {status.st_gid}) is closed to account "
            f"{os.geteuid()}; let it have group {status.st_gid} as well"
        )
    except OSError as error:
        return f"{device} cannot be opened ({error.strerror}); load kvm_intel or kvm_amd"
    try:
        os.close(fcntl.ioctl(descriptor, _CREATE_VM, 0))
    except OSError as error:
        return f"{device} makes no virtual machine ({error.strerror}); run on a machine whose KVM works"
    finally:
        os.close(descriptor)
    return None


def _usable(path: Path) -> bool:
    enter = os.X_OK if path.is_dir() else 0
    return os.access(path, os.R_OK | os.W_OK | enter, effective_ids=True)
