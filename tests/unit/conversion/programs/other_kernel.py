"""Runs Python as on a kernel that does otherwise with seccomp filters: `other_kernel.py KERNEL ARGUMENTS`.

A filter answers seccomp(2) in the kernel's place, and survives an exec. `no-flags` refuses every flag, as
gVisor does; `ignores` says yes and installs nothing.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

SECCOMP = {"x86_64": 317, "aarch64": 277}[platform.machine()]
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
ANSWERS = {"no-flags": errno.EINVAL, "ignores": 0}
# struct seccomp_data: the call's number, the lower half of its second argument.
NR, FLAGS = 0, 24
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def main() -> None:
    """Install the filter and become Python with the arguments."""
    kernel, *arguments = sys.argv[1:]
    no_flags_allowed = kernel == "no-flags"
    instructions = (
        (LOAD, 0, 0, NR),
        (IF_EQUAL, 0, 3, SECCOMP),
        (LOAD, 0, 0, FLAGS),
        (IF_EQUAL, 1 if no_flags_allowed else 0, 0, 0),
        (RETURN, 0, 0, ERRNO | ANSWERS[kernel]),
        (RETURN, 0, 0, ALLOW),
    )
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(instructions), ctypes.addressof(code))
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described) == 0
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    main()
