"""Give up the network, and print what still opens: here, in a program that is started, and past `socket`."""

import ctypes
import errno
import json
import socket
import subprocess
import sys

from nnlite_conversion.isolation import sandbox

IO_URING_SETUP = 425
#: The call `getpid` of x86_64's second ABI; on other architectures a number that no call has.
FOREIGN_GETPID = 0x40000000 + 39
_libc = ctypes.CDLL(None, use_errno=True)


def opened() -> list[str]:
    """Return the families that this process can open a socket of."""
    found = []
    for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET):
        try:
            socket.socket(family, socket.SOCK_RAW if family > socket.AF_INET6 else socket.SOCK_STREAM).close()
            found.append(family.name)
        except OSError:
            continue
    return found


def refusal(*call: int) -> str:
    """Make a system call and return the name of its error; empty: none."""
    ctypes.set_errno(0)
    _libc.syscall(*call)
    return errno.errorcode.get(ctypes.get_errno(), "")


def main() -> None:
    """Print the answers as JSON."""
    if sys.argv[1:]:
        print(json.dumps(opened()))
        return
    before = opened()
    sandbox.drop_privileges(None)
    sandbox.leave_network(filter_required=True)
    again = [sys.executable, __file__, "again"]
    answers = {
        "before": before,
        "opened": opened(),
        "opened by a program": json.loads(subprocess.run(again, capture_output=True, check=True).stdout),
        "io_uring": refusal(IO_URING_SETUP, 8, 0),
        "foreign ABI": refusal(FOREIGN_GETPID),
    }
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
