"""Finds the line of a network's code that makes its outputs differ from one run to the next.

Runs in the forked child only.
"""

import random
import sys
import zlib
from collections.abc import Callable, Iterator
from traceback import FrameSummary
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

from nnlite_conversion.culprit import CodeLine, is_of_tools, line_in

Run = Callable[[], object]


class _Line(NamedTuple):
    """A line of the network's code that a run is at, and what called it."""

    frame: FrameType
    number: int


#: Called when a line has ended, with the frame whose variables it may have changed and what it returned.
_Ended = Callable[[_Line, FrameType, Any], None]


class _Found(Exception):
    """The line is found; it ends the run."""

    def __init__(self, line: _Line) -> None:
        super().__init__()
        stack = [FrameSummary(line.frame.f_code.co_filename, line.number, line.frame.f_code.co_name)]
        stack += [FrameSummary(file, number, "") for file, number in _callers(line.frame)]
        self.line = line_in(stack[::-1])


def line_of_draw(run: Run) -> CodeLine | None:
    """Return the first line of a run that draws a number from Python's or NumPy's generator."""
    before = _generators()

    def ended(line: _Line, *_: object) -> None:
        if _generators() != before:
            raise _Found(line)

    return _found(run, ended)


def line_of_change(run: Run, between: Run) -> CodeLine | None:
    """Return the first line of a run after which a tensor, or the next line, is another one in a second run.

    Args:
        run: the run.
        between: runs between both.
    """
    steps: list[tuple[str, int, list[int]]] = []

    def record(line: _Line, frame: FrameType, returned: Any) -> None:
        steps.append((line.frame.f_code.co_filename, line.number, _digests(frame, returned)))

    _found(run, record)
    between()
    known = iter(steps)
    last: _Line | None = None

    def compare(line: _Line, frame: FrameType, returned: Any) -> None:
        nonlocal last
        file, number, digests = next(known, ("", 0, []))
        if (file, number) != (line.frame.f_code.co_filename, line.number):
            raise _Found(last or line)
        if digests != _digests(frame, returned):
            raise _Found(line)
        last = line

    return _found(run, compare)


def _found(run: Run, ended: _Ended) -> CodeLine | None:
    """Run with `ended` called behind each line of the network's code; return the line that it finds."""
    before = sys.gettrace()
    sys.settrace(_tracer(ended))
    try:
        run()
    except _Found as found:
        return found.line
    finally:
        sys.settrace(before)
    return None


def _tracer(ended: _Ended) -> Callable[[FrameType, str, Any], Any]:
    at: dict[FrameType, int] = {}

    def in_frame(frame: FrameType, event: str, returned: Any) -> Any:
        if event == "line" and frame in at:
            ended(_Line(frame, at[frame]), frame, None)
        elif event == "return":
            ended(_Line(frame, frame.f_lineno), frame, returned)
            at.pop(frame, None)
        if event == "line":
            at[frame] = frame.f_lineno
        return in_frame

    def called(frame: FrameType, *_: object) -> Any:
        if is_of_tools(frame.f_code.co_filename):
            return None
        caller = frame.f_back
        while caller is not None and caller not in at:
            caller = caller.f_back
        if caller is not None:
            ended(_Line(caller, caller.f_lineno), frame, None)  # it has made the arguments
        return in_frame

    return called


def _callers(frame: FrameType) -> Iterator[tuple[str, int]]:
    caller = frame.f_back
    while caller is not None:
        yield caller.f_code.co_filename, caller.f_lineno
        caller = caller.f_back


def _generators() -> tuple[Any, ...]:
    """Return the states of the generators that a network may draw from."""
    of_numpy: Any = np.random.get_state()
    name, key, *rest = of_numpy
    return random.getstate(), name, key.tobytes(), *rest


def _digests(frame: FrameType, returned: Any) -> list[int]:
    """Return checksums of the tensors among the variables of a frame and what it returns."""
    arrays = (_bytes(leaf) for leaf in tree_leaves([returned, *frame.f_locals.values()]))
    return [zlib.crc32(array) for array in arrays if array is not None]


def _bytes(value: object) -> memoryview | None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        value = torch.from_numpy(np.ascontiguousarray(value))
    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided or not value.numel():
        return None
    data: memoryview = (
        value.detach().cpu().resolve_conj().contiguous().reshape(-1).view(torch.uint8).numpy().data
    )
    return data
