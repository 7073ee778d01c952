"""Linux namespaces from Python, for isolation and virtual devices.

User namespaces need no privileges, so root and a plain user go the same way.
The numbers are those of `linux/sched.h`, `linux/mount.h` and `linux/sockios.h`.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
from enum import IntFlag
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1
_MNT_DETACH = 2
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


class Space(IntFlag):
    """Kinds of namespaces (CLONE_NEW...)."""

    TIME = 0x80
    MOUNT = 0x20000
    UTS = 0x4000000
    IPC = 0x8000000
    USER = 0x10000000
    PID = 0x20000000
    NETWORK = 0x40000000


class Mount(IntFlag):
    """Flags of mount (MS_...)."""

    NONE = 0
    NOSUID = 2
    NODEV = 4
    BIND = 0x1000
    RECURSIVE = 0x4000
    PRIVATE = 0x40000


def unshare(spaces: Space) -> None:
    """Leave these namespaces for new ones; PID and TIME hold for children only."""
    _check(_LIBC.unshare(int(spaces)), f"unshare {spaces!r}")


def map_ids(uid: int, gid: int, *, outer_uid: int, outer_gid: int) -> None:
    """Give the only account of a new user namespace its numbers."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")


def loopback_up() -> None:
    """Bring `lo` up in the network namespace of this process."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh22x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def die_with_parent() -> None:
    """Have this process killed when the thread that forked it ends."""
    _check(_LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def mount(source: str, target: Path, kind: str = "", flags: Mount = Mount.NONE, options: str = "") -> None:
    """Mount something; see mount(2)."""
    result = _LIBC.mount(
        source.encode(), bytes(target), kind.encode() or None, int(flags), options.encode() or None
    )
    _check(result, f"mount {source} on {target}")


def bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    """Bind-mount a file or folder, and all that is mounted below it, on a path that is created."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount(str(source), target, flags=Mount.BIND | Mount.RECURSIVE)
    if read_only:
        attributes = struct.pack("4Q", _MOUNT_ATTR_RDONLY, 0, 0, 0)
        result = _LIBC.syscall(
            _MOUNT_SETATTR, _AT_FDCWD, bytes(target), _AT_RECURSIVE, attributes, len(attributes)
        )
        _check(result, f"make {target} read-only")


def enter_root(root: Path) -> None:
    """Make a mounted folder the root of everything, and the old root unreachable."""
    old = root / "old"
    old.mkdir()
    _check(_LIBC.pivot_root(bytes(root), bytes(old)), f"pivot_root {root}")
    os.chdir("/")
    unmount(Path("/old"))
    Path("/old").rmdir()


def unmount(target: Path) -> None:
    """Unmount, even while it is in use."""
    _check(_LIBC.umount2(bytes(target), _MNT_DETACH), f"unmount {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
