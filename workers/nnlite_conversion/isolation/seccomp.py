"""A seccomp filter that takes the network from a process and all that it starts; needs no privilege.

It refuses every socket that is not local (`AF_UNIX`), io_uring, which opens sockets without that call, and
calls of foreign ABIs, which have other numbers. `permitted_calls` tries whether it does.
"""

import ctypes
import errno
import os
import platform
import signal
import socket
import struct
from dataclasses import dataclass
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_SET_MODE_FILTER: Final = 1
#: The kernel's speculation barriers stay as they are; older kernels would slow the process down. gVisor, and
#: Linux before 4.17, refuse the flag as unknown.
_SPEC_ALLOW: Final = 1 << 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_AF_UNIX: Final = 1
_IO_URING_SETUP: Final = 425
#: Numbers of x86_64's second ABI begin here; no call of other architectures has so large a number.
_X32: Final = 0x40000000
_REFUSAL: Final = errno.EAFNOSUPPORT

# What `permitted_calls` tries.
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_VSOCK)
_PAST_SOCKET: Final = {
    "io_uring_setup": (_IO_URING_SETUP, 1, 0),
    "socket of a foreign ABI": (_X32 + 41, socket.AF_INET, socket.SOCK_STREAM, 0),
}

# struct seccomp_data: nr, arch, instruction_pointer, args[6]; the lower half of the first argument.
_NR, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
# linux/bpf_common.h: a 32-bit load from there, comparisons with a constant, a return.
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class _Abi:
    """Numbers of one architecture: linux/audit.h and its table of system calls."""

    audit_arch: int
    socket: int
    seccomp: int


_ABIS: Final = {
    "x86_64": _Abi(audit_arch=0xC000003E, socket=41, seccomp=317),
    "aarch64": _Abi(audit_arch=0xC00000B7, socket=198, seccomp=277),
}


def forbid_network() -> None:
    """Let this process and its children open local sockets only; irrevocable.

    Others fail as on a machine without IP. The process must not be able to gain privileges
    (`PR_SET_NO_NEW_PRIVS`), and have one thread.

    Raises:
        OSError: the architecture is unknown here, or the kernel refuses.
    """
    abi = _ABIS.get(platform.machine())
    if abi is None:
        raise OSError(errno.ENOSYS, f"no filter for {platform.machine()}")
    program = _program(abi)
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, and where they are.
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    for flags in (_SPEC_ALLOW, 0):
        if _libc.syscall(abi.seccomp, _SET_MODE_FILTER, ctypes.c_ulong(flags), described) == 0:
            return
        number = ctypes.get_errno()
        if number != errno.EINVAL:  # which is what an unknown flag gives
            break
    raise OSError(number, f"seccomp: {os.strerror(number)}")


def permitted_calls() -> tuple[str, ...]:
    """Return which of the calls that `forbid_network` forbids this process can make; empty: the filter holds.

    Those past socket(2) are made in a process of their own: other filters, such as systemd's of
    architectures, kill for them. Once it is killed, the calls that would have followed count as refused, as
    the killed one does. The calling process must have one thread.
    """
    permitted = [f"socket({family.name})" for family in _FAMILIES if not _refuses_socket(family)]
    child = os.fork()
    if child == 0:
        _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # nobody wants to read that it was killed
        os._exit(sum(1 << index for index, call in enumerate(_PAST_SOCKET.values()) if not _refuses(*call)))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != -signal.SIGSYS:
        permitted += [name for index, name in enumerate(_PAST_SOCKET) if status < 0 or status & 1 << index]
    return tuple(permitted)


def _refuses_socket(family: socket.AddressFamily) -> bool:
    try:
        socket.socket(family, socket.SOCK_DGRAM).close()
    except OSError as error:
        return error.errno == _REFUSAL
    return False


def _refuses(*call: int) -> bool:
    ctypes.set_errno(0)
    _libc.syscall(*call)
    return ctypes.get_errno() == _REFUSAL


def _program(abi: _Abi) -> bytes:
    """Return the filter; a comparison skips so many instructions where it holds, so many where not."""
    refuse = _ERRNO | _REFUSAL
    instructions = (
        (_LOAD, 0, 0, _ARCH),
        (_IF_EQUAL, 0, 6, abi.audit_arch),
        (_LOAD, 0, 0, _NR),
        (_IF_AT_LEAST, 4, 0, _X32),
        (_IF_EQUAL, 3, 0, _IO_URING_SETUP),
        (_IF_EQUAL, 0, 3, abi.socket),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_IF_EQUAL, 1, 0, _AF_UNIX),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
    )
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
