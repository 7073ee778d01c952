"""Every precision but fp32 is made from the fp32 file; each has one function here."""

import contextlib
import io
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnlite.artifacts.calibration import Int8Io
from nnlite.errors import NnliteError
from nnlite.vocabulary import Precision

if TYPE_CHECKING:
    from nnlite_conversion.pipeline.quantizing.calibration import Sample

#: Longest that samples are run for calibration, seconds; after it those that were run must do.
MAX_CALIBRATION_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Data:
    """What quantizers may need besides the file."""

    #: Calibration samples.
    samples: "Sequence[Sample]"
    #: Why there are none; None: there are.
    why_none: str | None
    #: What int8 artifacts take and return.
    int8_io: Int8Io
    threads: int


#: Takes the fp32 artifact, the path to write to and the data; returns how many samples it was calibrated on.
Quantizer = Callable[[Path, Path, Data], int]


class NoCalibrationData(NnliteError):
    """There is nothing to calibrate this model on."""


def supported_precisions() -> tuple[Precision, ...]:
    """Return the precisions that artifacts can be made in."""
    return (Precision.FP32, *QUANTIZERS)


def _fp16(fp32: Path, target: Path, data: Data) -> int:
    """Store the weights in half precision; the runtime computes as it likes."""
    from ai_edge_quantizer import qtyping, quantizer

    job = quantizer.Quantizer(str(fp32))
    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    job.update_quantization_recipe(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.FLOAT
        ),
        algorithm_key=quantizer.algorithm_manager.AlgorithmName.FLOAT_CASTING,
    )
    return _write(job, None, target)


def _dynamic(fp32: Path, target: Path, data: Data) -> int:
    """Store the weights as int8; activations are quantized while the artifact runs."""
    from ai_edge_quantizer import qtyping, quantizer, recipe

    job = quantizer.Quantizer(str(fp32), recipe.dynamic_wi8_afp32())
    # TFLite 2.16, which the app has, takes no int8 weights with floats there: "weights->type != input->type".
    # And no runtime takes a product whose first factor alone is int8, which a constant one would become.
    _leave_as_floats(job, qtyping.TFLOperationName.CONV_2D_TRANSPOSE, qtyping.TFLOperationName.BATCH_MATMUL)
    return _write(job, None, target)


def _int8(fp32: Path, target: Path, data: Data) -> int:
    """Compute in integers whose ranges the calibration samples give."""
    from ai_edge_quantizer import qtyping, quantizer, recipe

    if not data.samples:
        raise NoCalibrationData(data.why_none or "no calibration data")
    job = quantizer.Quantizer(str(fp32), recipe.static_wi8_ai8())
    if data.int8_io is Int8Io.FLOAT:
        _leave_as_floats(job, qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT)
    ranges, used = _ranges(fp32, job, data)
    _write(job, ranges, target)
    return used


def _ranges(fp32: Path, job: Any, data: Data) -> tuple[dict[str, Any], int]:
    """Return the range of every tensor over the samples, and how many were run.

    The first sample is looked at tensor by tensor, which is complete; the others by the runtime's own
    profiler, which is three times as fast, knows nearly all tensors, and gives the same ranges.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import calibrator

    (signature, names), *others = Interpreter(model_path=str(fp32)).get_signature_list().items()
    if others:
        raise ValueError("the fp32 artifact has several signatures")
    feeds = [dict(zip(names["inputs"], sample, strict=True)) for sample in data.samples]
    with _silence():
        first = job.calibrate({signature: feeds[:1]}, num_threads=data.threads)
        profiler = calibrator.Calibrator(
            fp32.read_bytes(),
            num_threads=data.threads,
            mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
        )
        profiler.load_model_qsvs(first)
        used, began_s = 1, time.monotonic()
        for feed in feeds[1:]:
            if time.monotonic() - began_s > MAX_CALIBRATION_S:
                break
            profiler.calibrate({signature: [feed]}, None)
            used += 1
    return profiler.get_model_qsvs(), used


def _leave_as_floats(job: Any, *operators: Any) -> None:
    from ai_edge_quantizer import algorithm_manager

    for operator in operators:
        job.update_quantization_recipe(
            regex=".*",
            operation_name=operator,
            algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE,
        )


def _write(job: Any, ranges: dict[str, Any] | None, target: Path) -> int:
    with _silence():
        result = job.quantize(ranges, enable_progress_report=False)
    target.write_bytes(result.quantized_model)
    return 0


@contextlib.contextmanager
def _silence() -> Any:
    """Keep progress bars and advice out of the log, whose end is kept to explain a crash."""
    logging.getLogger().setLevel(logging.ERROR)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        yield


QUANTIZERS: Mapping[Precision, Quantizer] = {
    Precision.FP16: _fp16,
    Precision.DYNAMIC: _dynamic,
    Precision.INT8: _int8,
}
