"""Quantizers: one function per precision other than fp32, which writes the artifact from the fp32 file.

To add a precision: a member of `nnlite.vocabulary.Precision`, a function here with an entry in `QUANTIZERS`,
and its limits in `verifying.judging`. CONTRIBUTING.md has the whole list.
"""

import contextlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnlite.host.files import write_in_blocks
from nnlite.vocabulary import Int8Io, Precision
from nnlite_conversion.pipeline.quantizing.data import Data, NoCalibrationData
from nnlite_conversion.pipeline.quantizing.fallback import InFloats, floats_where_needed
from nnlite_conversion.pipeline.quantizing.masks import with_finite_masks
from nnlite_conversion.pipeline.quantizing.ranges import ranges_of, silence
from nnlite_conversion.pipeline.quantizing.safeguards import (
    decisive,
    loses,
    small_steps,
    with_ranges_of_zeros,
    with_room_for_biases,
)
from nnlite_conversion.pipeline.verifying import flatbuffer

#: Operators that are worth integers more than any others.
PRODUCTS = frozenset(
    # The quantizer has a name of its own for TRANSPOSE_CONV.
    {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_2D_TRANSPOSE", "FULLY_CONNECTED", "BATCH_MATMUL"}
)


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """How an artifact was made."""

    #: Number of samples that it was calibrated on; 0: it needs none.
    samples: int = 0


#: Takes the fp32 artifact, the path to write to and the data.
Quantizer = Callable[[Path, Path, Data], Quantized]


def _fp16(fp32: Path, target: Path, data: Data) -> Quantized:
    """Store the weights in half precision; the runtime chooses the precision that it computes in."""
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
    _write(job, None, target)
    return Quantized()


def _dynamic(fp32: Path, target: Path, data: Data) -> Quantized:
    """Store the weights as int8; activations are quantized at run time."""
    from ai_edge_quantizer import qtyping, quantizer, recipe

    job = quantizer.Quantizer(str(fp32), recipe.dynamic_wi8_afp32())
    _quantize_inputs_with_zero_point(job._float_model)
    # TFLite 2.16, the app's runtime, refuses transposed convolutions of floats by int8 weights
    # ("weights->type != input->type"), and every runtime refuses a matrix product whose first factor alone is
    # int8, as a constant one would be.
    _keep_as_floats(job, qtyping.TFLOperationName.CONV_2D_TRANSPOSE, qtyping.TFLOperationName.BATCH_MATMUL)
    _write(job, None, target)
    return Quantized()


def _quantize_inputs_with_zero_point(model: Any) -> None:
    """Set `asymmetric_quantize_inputs` of the linear layers of an fp32 model, which quantizing it keeps.

    Without it TFLite 2.16's kernel for arm64, that of phones, leaves out the scale of each channel. XNNPACK
    on the host computes the same with and without. Of the operators that get int8 weights here no other has
    the option. Versions of operators stay: delegates refuse later ones, and no kernel asks.
    """
    from ai_edge_quantizer import qtyping

    for operator in (each for graph in model.subgraphs for each in graph.operators):
        if isinstance(operator.builtinOptions, qtyping.FullyConnectedOptionsT):
            operator.builtinOptions.asymmetricQuantizeInputs = True


def _integer_ways(int8_io: Int8Io | None, in_floats: InFloats) -> tuple[Quantizer, ...]:
    """Return the ways to store weights and activations as int8, in the order in which they are tried.

    The calibration samples give the ranges of the activations. Operators that cannot be quantized stay in
    floats. The second way has safeguards: ranges contain every sample, biases fit, and what integers would
    lose stays in floats. In the third, so does what places and divisors are computed from.

    Args:
        int8_io: types of the artifact's inputs and outputs; None: those that the data name.
        in_floats: what else stays in floats.
    """

    def way(*, safeguards: bool, exact_decisions: bool) -> Quantizer:
        return lambda fp32, target, data: _integers(
            fp32,
            target,
            data,
            int8_io or data.int8_io,
            in_floats,
            safeguards=safeguards,
            exact_decisions=exact_decisions,
        )

    return (
        way(safeguards=False, exact_decisions=False),
        way(safeguards=True, exact_decisions=False),
        way(safeguards=True, exact_decisions=True),
    )


def int8_but(operators: frozenset[str]) -> tuple[Quantizer, ...]:
    """Return the ways to make int8, in their order, which keep `operators`, such as `DIV`, in floats too."""
    return _integer_ways(None, lambda operator, result: operator in operators)


def _mixed_before_head(fp32: Path, target: Path, data: Data) -> Quantized:
    """Keep what follows the last products in floats: boxes and scores of a detector have different scales."""
    head = flatbuffer.after_last_products(fp32, PRODUCTS)
    return _integers(
        fp32, target, data, Int8Io.FLOAT, lambda operator, result: result in head, safeguards=True
    )


def _mixed_products(fp32: Path, target: Path, data: Data) -> Quantized:
    """Compute convolutions and matrix products as int8, everything else in floats."""
    return _integers(
        fp32, target, data, Int8Io.FLOAT, lambda operator, result: operator not in PRODUCTS, safeguards=True
    )


def _either(one: InFloats, other: InFloats) -> InFloats:
    return lambda operator, result: one(operator, result) or other(operator, result)


def _integers(
    fp32: Path,
    target: Path,
    data: Data,
    io: Int8Io,
    in_floats: InFloats,
    *,
    safeguards: bool = False,
    exact_decisions: bool = False,
) -> Quantized:
    from ai_edge_quantizer import qtyping, quantizer, recipe

    if not data.samples:
        raise NoCalibrationData(data.why_none or "no calibration data")
    job = quantizer.Quantizer(str(fp32), recipe.static_wi8_ai8())
    if io is Int8Io.FLOAT:
        _keep_as_floats(job, qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT)
    ranges, used = ranges_of(fp32, job, data, every_value=safeguards)
    if not ranges:  # a network of integers and booleans alone has nothing to quantize
        shutil.copyfile(fp32, target)
        return Quantized(samples=used)
    ranges = with_finite_masks(job._float_model, ranges, only_huge=not safeguards)
    with contextlib.ExitStack() as stack:
        if exact_decisions:
            exact = decisive(job._float_model, PRODUCTS)
            in_floats = _either(in_floats, lambda operator, result: result in exact)
        if safeguards:
            in_floats = _either(in_floats, loses(job._float_model, ranges))
            ranges = with_room_for_biases(job._float_model, with_ranges_of_zeros(ranges))
            stack.enter_context(small_steps())
        stack.enter_context(floats_where_needed(in_floats))
        _write(job, ranges, target)
    return Quantized(samples=used)


def _keep_as_floats(job: Any, *operators: Any) -> None:
    from ai_edge_quantizer import algorithm_manager

    for operator in operators:
        job.update_quantization_recipe(
            regex=".*",
            operation_name=operator,
            algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE,
        )


def _write(job: Any, ranges: dict[str, Any] | None, target: Path) -> None:
    with silence():
        content = job.quantize(ranges, enable_progress_report=False).quantized_model
    with target.open("wb") as file:
        for piece in content if isinstance(content, list) else [content]:
            write_in_blocks(file, piece)


_INT8 = int8_but(frozenset())
#: Its inputs and outputs are floats.
_MIXED = (*_integer_ways(Int8Io.FLOAT, lambda operator, result: False), _mixed_before_head, _mixed_products)

QUANTIZERS: Mapping[Precision, Quantizer] = {
    Precision.FP16: _fp16,
    Precision.DYNAMIC: _dynamic,
    Precision.INT8: _INT8[0],
    Precision.MIXED: _MIXED[0],
}
#: Further ways to make a precision, in the order in which they are tried while the artifact is not right.
FALLBACKS: Mapping[Precision, tuple[Quantizer, ...]] = {
    Precision.INT8: _INT8[1:],
    Precision.MIXED: _MIXED[1:],
}
