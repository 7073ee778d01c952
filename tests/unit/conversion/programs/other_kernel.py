"""Runs Python as on a kernel that does otherwise with system calls: `other_kernel.py KERNEL ARGUMENTS`.

A filter answers in the kernel's place, and survives an exec.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

SECCOMP = {"x86_64": 317, "aarch64": 277}[platform.machine()]
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
#: Numbers of x86_64's second ABI begin here.
X32 = 0x40000000
# struct seccomp_data: the call's number, the lower half of its second argument.
NR, SECOND_ARGUMENT = 0, 24
LOAD, IF_EQUAL, IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
KILL, ERRNO, ALLOW = 0x00000000, 0x00050000, 0x7FFF0000

KERNELS = {
    # gVisor's seccomp(2) refuses this flag and others.
    "no-flags": (
        (LOAD, 0, 0, NR),
        (IF_EQUAL, 0, 3, SECCOMP),
        (LOAD, 0, 0, SECOND_ARGUMENT),
        (IF_EQUAL, 1, 0, 0),
        (RETURN, 0, 0, ERRNO | errno.EINVAL),
        (RETURN, 0, 0, ALLOW),
    ),
    # seccomp(2) says yes, and no filter is installed.
    "ignores": (
        (LOAD, 0, 0, NR),
        (IF_EQUAL, 0, 1, SECCOMP),
        (RETURN, 0, 0, ERRNO),
        (RETURN, 0, 0, ALLOW),
    ),
    # systemd's SystemCallArchitectures=native.
    "native": (
        (LOAD, 0, 0, NR),
        (IF_AT_LEAST, 0, 1, X32),
        (RETURN, 0, 0, KILL),
        (RETURN, 0, 0, ALLOW),
    ),
}


def main() -> None:
    """Install the filter and become Python with the arguments."""
    kernel, *arguments = sys.argv[1:]
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in KERNELS[kernel])
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(KERNELS[kernel]), ctypes.addressof(code))
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described) == 0
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    main()
