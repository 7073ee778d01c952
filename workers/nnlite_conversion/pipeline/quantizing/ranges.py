"""Ranges of what an fp32 artifact computes for calibration samples, from which integers get their steps."""

import contextlib
import io
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from nnlite_conversion.pipeline.quantizing.data import Data

#: Limit of calibration: CPU seconds of the calling thread, so that a busy machine uses as many samples. Those
#: that have not run by then are not used.
MAX_CALIBRATION_S = 60.0
#: The quantizer leaves out values beyond, such as those of masks.
_LARGEST = 3e38


def ranges_of(fp32: Path, job: Any, data: Data, *, every_value: bool) -> tuple[dict[str, Any], int]:
    """Return the range of every tensor over the samples, and the number of samples run.

    The quantizer's own is an average in which the first sample counts most, so that rare values do not make
    all steps coarse; where samples differ much, it cuts off what the others need. With `every_value` it
    contains that.

    Samples are run by the runtime's profiler, which takes a third of the time of reading every tensor.

    Args:
        fp32: the artifact.
        job: its quantizer.
        data: with a sample at least.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import calibrator
    from ai_edge_quantizer.utils import qsv_utils

    interpreter = Interpreter(model_path=str(fp32))
    (signature, names), *others = interpreter.get_signature_list().items()
    if others:
        raise ValueError("the fp32 artifact has several signatures")
    inputs = interpreter.get_signature_runner(signature).get_input_details()
    feeds = [
        {
            # The converter narrows integers of 64 bits.
            name: np.asarray(value, dtype=inputs[name]["dtype"])
            for name, value in zip(names["inputs"], sample, strict=True)
        }
        for sample in data.samples
    ]
    with silence():
        profiler = calibrator.Calibrator(
            job._float_model_buffer,
            num_threads=data.threads,
            mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
            qsv_update_func=qsv_utils.min_max_update if every_value else qsv_utils.moving_average_update,
        )
        first = of_first(job, profiler, {signature: feeds[:1]}, data.threads)
        profiler.load_model_qsvs(first)
        used, started_s = 1, time.thread_time()
        for feed in feeds[1:]:
            if time.thread_time() - started_s > MAX_CALIBRATION_S:
                break
            profiler.calibrate({signature: [feed]}, None)
            used += 1
    return profiler.get_model_qsvs(), used


def of_first(job: Any, profiler: Any, sample: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """Return the ranges over the first sample, as the quantizer finds them: of the same tensors and types.

    They are read from every tensor only where the profiler does not report all of them, or where some have
    values that the quantizer leaves out. That takes a second interpreter.
    """
    from ai_edge_quantizer.utils import tfl_interpreter_utils

    profiler.calibrate(sample, None)
    interpreter, reported = profiler._tfl_interpreter, profiler.get_model_qsvs()
    graphs = [
        _ends(job._float_model, graph, interpreter.get_tensor_details(number), reported)
        for number, graph in enumerate(job._float_model.subgraphs)
    ]
    if None in graphs:
        return job.calibrate(sample, num_threads=threads)  # type: ignore[no-any-return]
    replaced: dict[str, Any] = {
        "create_tfl_interpreter": lambda *_, **__: interpreter,
        "invoke_interpreter_signature": lambda *_: {},
        "get_tensor_name_to_content_map": lambda _, number: graphs[number],
    }
    with mock.patch.multiple(tfl_interpreter_utils, **replaced):
        return job.calibrate(sample, num_threads=threads)  # type: ignore[no-any-return]


def _ends(
    model: Any, graph: Any, details: list[dict[str, Any]], reported: Mapping[str, Any]
) -> dict[str, NDArray[Any]] | None:
    """Return the smallest and the largest value of each tensor that a graph computes; None: one is not known.

    Those of booleans, which have no steps and are not reported, are False and True.
    """
    found: dict[str, NDArray[Any]] = {}
    for tensor, detail in zip(graph.tensors, details, strict=False):
        name, rank = detail["name"], len(detail["shape"])
        if model.buffers[tensor.buffer].data is not None or not name:
            continue
        if detail["dtype"] is np.bool_:
            ends: list[Any] = [False, True]
        elif name in reported:
            ends = [float(reported[name][end].item()) for end in ("min", "max")]
            # The largest integers are reported as floats, which round them up.
            largest = (
                np.iinfo(detail["dtype"]).max if np.issubdtype(detail["dtype"], np.integer) else _LARGEST
            )
            if not -_LARGEST < ends[0] <= ends[1] < _LARGEST or ends[1] > largest:
                return None
        else:
            return None
        values = np.array(ends if rank else ends[0], detail["dtype"])
        found[name] = values.reshape(-1, *[1] * (rank - 1)) if rank else values
    return found


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep progress bars and advice out of the log, whose tail is kept to explain a crash."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
