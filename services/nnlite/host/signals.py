"""Signals that ask a process to stop: SIGTERM and SIGINT."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def on_stop(stop: Callable[[], object]) -> None:
    """Call `stop` at each SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop())


@contextmanager
def ended_by_interrupts() -> Iterator[None]:
    """Let Ctrl-C end the process inside the block at once, without a traceback.

    Where something else handles or ignores it, or in another thread than the main one, nothing is changed.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
