"""Prepares a forked child: resets its signals, lets it die with its parent."""

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def reset_signals() -> None:
    """Give every signal its default action and unblock all; SIGPIPE stays ignored, as Python wants it.

    Forked children inherit their parent's handlers.
    """
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGPIPE else signal.SIG_DFL)
        except (OSError, ValueError):
            continue  # the C library keeps some real-time signals for itself
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def die_with_parent(parent_gone: Callable[[], bool]) -> None:
    """Have the kernel kill this process when its parent ends; exit at once if it has already ended.

    The kernel acts when the thread that forked ends, and a later change of uid clears the setting (prctl(2)).

    Args:
        parent_gone: whether the parent has ended, such as `lambda: os.getppid() != parent`.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if parent_gone():
        os._exit(1)
