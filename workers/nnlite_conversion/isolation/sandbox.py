"""Sandbox primitives: restrictions that a forked process puts on itself before it runs other people's Python.

Each function changes the calling process only. It is meant for a freshly forked process that has not run
anything else. Restrictions that the OS refuses are skipped and reported by `abilities`, which `nnlite doctor`
shows, but for the network: `leave_network` tries what it forbids, and raises where that does not hold.
"""

import ctypes
import errno
import json
import os
import pwd
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from nnlite.errors import NnliteError
from nnlite.settings import PREFIX
from nnlite_conversion.isolation import seccomp

#: Longest that one restriction is tried, seconds.
_TRY_TIMEOUT_S = 60
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000

CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """Which restrictions this machine supports for a conversion child."""

    #: The account that model code runs as; None: the worker's own.
    unprivileged_uid: int | None
    #: Why no conversion may start, because model code would reach the network; None: it would not.
    network_problem: str | None
    #: No process that model code starts can outlive its conversion.
    own_pid_namespace: bool


class NetworkOpenError(NnliteError):
    """Model code would reach the network: its filter does not hold here."""


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def set_process_option(option: int) -> None:
    """Switch an option of prctl(2) on."""
    _call("prctl", option, 1, 0, 0, 0)


def keep_only(descriptors: set[int]) -> None:
    """Close every file descriptor but the standard three and `descriptors`."""
    for number in sorted(int(entry.name) for entry in Path("/proc/self/fd").iterdir()):
        if number > 2 and number not in descriptors:
            try:
                os.close(number)
            except OSError as error:
                if error.errno != errno.EBADF:  # the descriptor that listed the folder
                    raise


def volunteer_for_oom() -> None:
    """Make this process the OOM killer's first choice."""
    Path("/proc/self/oom_score_adj").write_text("1000")


def limit_resources(file_size_bytes: int) -> None:
    """Forbid core files, and files above `file_size_bytes`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size_bytes, file_size_bytes))


def enter_namespaces(*, network: bool) -> bool:
    """Leave the machine's network, and put later children into a new PID namespace.

    Takes what the OS permits: as root directly, as a plain user through a user namespace, else without a PID
    namespace, else nothing. Must be called by a process with one thread, before privileges are dropped.

    Returns:
        Whether the next child of this process will be the first of a PID namespace.
    """
    own = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC
    net = 0 if network else CLONE_NEWNET
    user = 0 if os.geteuid() == 0 else CLONE_NEWUSER
    uid, gid = os.geteuid(), os.getegid()
    for flags in (own | net, net):
        if not flags:
            continue
        try:
            _call("unshare", flags | user)
        except OSError:
            continue
        if user:
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        return bool(flags & CLONE_NEWPID)
    return False


def mount_own_proc() -> None:
    """Mount a /proc that shows only the processes of this PID namespace, where the OS permits it."""
    try:
        _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        _call("mount", b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)
    except OSError:
        return  # a container that masks parts of /proc refuses; the old mount then shows all processes


def drop_privileges(uid: int | None) -> None:
    """Become `uid` irrevocably, without groups and capabilities; None keeps the account.

    The process stays dumpable, so that it can still read its own files under /proc.
    """
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        set_process_option(PR_SET_DUMPABLE)
    elif os.geteuid() != 0:
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        _call("capset", header, (ctypes.c_uint32 * 6)())  # those of the user namespace
    set_process_option(PR_SET_NO_NEW_PRIVS)


def leave_network(*, filter_required: bool) -> None:
    """Let this process and its children open no socket but local ones, and try that; irrevocable.

    Needs no namespace and no privilege, so it holds in containers and for plain users. To be called when the
    process can gain no privileges any more: after `drop_privileges`.

    Args:
        filter_required: False: where the kernel does not hold the filter, it is enough that the process has
            no network interface but loopback.

    Raises:
        NetworkOpenError: this process can still open sockets of the network.
    """
    reason = ""
    try:
        seccomp.forbid_network()
    except OSError as error:
        reason = f" ({error.strerror})"
    permitted = seccomp.permitted_calls()
    if not permitted:
        return
    interfaces = _network_interfaces()
    if not filter_required and not interfaces:
        return
    without = f"{PREFIX}CONVERSION__NETWORK_FILTER=false"
    remedy = (
        f"set {without} where conversions have no network interface"
        if filter_required
        else f"take away the network interfaces, as {without} needs: {', '.join(interfaces)}"
    )
    raise NetworkOpenError(
        "model code would reach the network, so nothing is converted: the kernel does not hold the seccomp "
        f"filter{reason} and permits {', '.join(permitted)}; use a kernel with CONFIG_SECCOMP_FILTER on "
        f"x86-64 or arm64, or {remedy}; {PREFIX}CONVERSION__NETWORK=true lets model code reach the network"
    )


def network_problem(*, filter_required: bool) -> str | None:
    """Return why model code would reach the network here, tried in a forked child; None: it would not."""
    reading, writing = os.pipe2(os.O_CLOEXEC)

    def attempt() -> bool:
        try:
            enter_namespaces(network=False)
            drop_privileges(None)
            leave_network(filter_required=filter_required)
        except (OSError, NetworkOpenError) as error:
            os.write(writing, str(error).encode())
            return False
        return True

    with os.fdopen(reading) as pipe:
        tried = _succeeds_in_child(attempt)
        os.close(writing)
        return None if tried else pipe.read() or "the network cannot be taken from a process of this host"


def unprivileged_uid() -> int | None:
    """Return the account that model code can run as, or None where privileges cannot be dropped."""
    return _nobody() if can_drop_privileges() else None


@cache
def can_drop_privileges() -> bool:
    """Whether model code can run as an unprivileged account; tried once per process, in a forked child.

    That requires root, and an installation that the account can read.
    """
    return os.geteuid() == 0 and _succeeds_in_child(_read_installation_unprivileged)


def abilities(*, filter_required: bool = True) -> Abilities:
    """Return which restrictions this machine supports, by trying them in forked children."""
    return Abilities(
        unprivileged_uid=unprivileged_uid(),
        network_problem=network_problem(filter_required=filter_required),
        own_pid_namespace=_succeeds_in_child(lambda: enter_namespaces(network=False)),
    )


def reachable(folder: Path, uid: int) -> bool:
    """Whether the account `uid` may traverse `folder` and all its parents."""
    for step in (folder, *folder.resolve().parents):
        status = step.stat()
        if not status.st_mode & (0o100 if status.st_uid == uid else 0o001):
            return False
    return True


def _nobody() -> int:
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return 65534


def _network_interfaces() -> list[str]:
    """Return the interfaces of this process's network namespace but loopback, which a fresh one has alone."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    return [name for name in (line.split(":")[0].strip() for line in lines) if name != "lo"]


def _read_installation_unprivileged() -> bool:
    drop_privileges(_nobody())
    for folder in (Path(entry) for entry in sys.path if entry):
        if folder.is_dir():
            next(iter(folder.iterdir()), None)
    Path(__file__).read_bytes()
    Path(os.__file__).read_bytes()
    return os.access(sys.executable, os.R_OK | os.X_OK)


def _succeeds_in_child(attempt: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        status = 1
        signal.alarm(_TRY_TIMEOUT_S)  # ends this process
        try:
            status = 0 if attempt() else 1
        except OSError:
            status = 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


if __name__ == "__main__":
    # For `nnlite doctor`: services never import workers.
    found = abilities(filter_required="--no-filter" not in sys.argv)
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
