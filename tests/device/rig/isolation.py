"""Runs a command in a network namespace with only a loopback.

`python -m device.rig.isolation COMMAND...` (in `tests/`, or with it on
PYTHONPATH). Root stays root in a network namespace of its own; a plain user
gets one through a user namespace and is itself again in a second one, so that
nothing in it thinks it were root.
"""

import os
import sys
from pathlib import Path

from device.rig.namespaces import Space, loopback_up, map_ids, unshare

#: Environment variable of all processes inside: the network namespace that was entered.
MARK = "NNLITE_RIG_NETWORK"


def isolated() -> bool:
    """Whether this process runs inside; the mark of another namespace does not count."""
    return os.environ.get(MARK) == _network()


def enter() -> None:
    """Move this process, which has one thread, and its children inside.

    Raises:
        OSError: the kernel does not allow it.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        unshare(Space.NETWORK)
        loopback_up()
    else:
        unshare(Space.USER | Space.NETWORK)
        map_ids(0, 0, outer_uid=uid, outer_gid=gid)
        loopback_up()
        unshare(Space.USER)
        map_ids(uid, gid, outer_uid=0, outer_gid=0)
    os.environ[MARK] = _network()


def _network() -> str:
    return str(Path("/proc/self/ns/net").readlink())


def main() -> None:
    """Enter, then become the command that the arguments name."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m device.rig.isolation COMMAND [ARGUMENT...]")
    try:
        enter()
    except OSError as error:
        sys.exit(
            f"The rig needs a network namespace of its own, and the kernel refused: {error}.\n"
            "Allow unprivileged user namespaces (sysctl user.max_user_namespaces; on some distributions "
            "kernel.apparmor_restrict_unprivileged_userns=0), or run as root."
        )
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
