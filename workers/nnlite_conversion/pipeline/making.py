"""Makes the artifact of one precision from the fp32 file, checked; of several ways the first that is right.

Runs in the forked child only.
"""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import CALIBRATED, ParityState, Precision, Shortcut, Stage
from nnlite_conversion.explanations import explained
from nnlite_conversion.messages import Enter, artifact_name
from nnlite_conversion.outcome import ArtifactReport, KnownArtifact, Parity
from nnlite_conversion.pipeline.checking import Reference, check, judged
from nnlite_conversion.pipeline.lowering.fast_lowering import uses
from nnlite_conversion.pipeline.quantizing.data import Data, NoCalibrationData
from nnlite_conversion.pipeline.quantizing.fast_quantizing import fast_quantizing
from nnlite_conversion.pipeline.quantizing.quantization import (
    FALLBACKS,
    QUANTIZERS,
    Quantized,
    Quantizer,
    int8_but,
)
from nnlite_conversion.pipeline.verifying import flatbuffer
from nnlite_conversion.pipeline.verifying.parity import HostArtifact


def made(
    precision: Precision, fp32: Path, data: Data, reference: Reference, enter: Enter, *, trained: bool
) -> ArtifactReport:
    """Write and check the artifact of one precision; of several ways, the first that is not `off`.

    Where there is none, the last one that can be made.
    """
    path = Path(artifact_name(precision))
    if precision is Precision.FP32:
        enter(Stage.PARITY)
        return check(precision, path, reference, trained=trained, threads=data.threads)
    left = list(ways(precision))
    in_floats: frozenset[str] = frozenset()
    found: list[ArtifactReport] = []
    while left:
        way, again = left.pop(0), Path(f"again-{path}")
        enter(Stage.QUANTIZE)
        try:
            quantized = quantize(way, fp32, again, data)
            enter(Stage.PARITY)
            checked = check(precision, again, reference, trained=trained, threads=data.threads)
        except Failure as failure:
            again.unlink(missing_ok=True)
            refused = _refused_in_integers(failure) if precision is Precision.INT8 else None
            if refused is not None and refused not in in_floats:
                in_floats |= {refused}
                # The same way once more, and those after it.
                left = [*int8_but(in_floats)[-len(left) - 1 :]]
            if not left and not found:
                raise
            continue
        again.replace(path)
        kept = flatbuffer.operators_in_floats(path) if precision in CALIBRATED else ()
        found.append(replace(checked, calibrated_on=quantized.samples, kept_as_floats=kept))
        if checked.parity is None or checked.parity.state is not ParityState.OFF:
            break
    return found[-1]


def with_parity(fp32: KnownArtifact, reference: Reference, data: Data) -> KnownArtifact:
    """Return the fp32 artifact with its parity, which is not known where it was not asked for."""
    if fp32.parity is not None:
        return fp32
    try:
        host = HostArtifact(fp32.path, data.threads)
        found = judged(Precision.FP32, host, host.run(reference.loaded.samples), reference)
    except (RuntimeError, ValueError) as error:
        found = Parity(state=ParityState.UNKNOWN, reason=f"LiteRT on the host refuses it: {error}")
    return replace(fp32, parity=found)


def _refused_in_integers(failure: Failure) -> str | None:
    """Return the operator that LiteRT refuses, such as `DIV` by an integer zero; None: another failure."""
    operator = str(failure.details.get("operator"))
    # A delegate, such as `TfLiteXNNPackDelegate`, stands for operators that are not known.
    return operator if failure.failure_class is FailureClass.RUNTIME and operator.isupper() else None


def ways(precision: Precision) -> tuple[Quantizer, ...]:
    """Return the quantizers of a precision, in the order in which they are tried."""
    return (QUANTIZERS[precision], *FALLBACKS.get(precision, ()))


def quantize(way: Quantizer, fp32: Path, path: Path, data: Data) -> Quantized:
    """Write an artifact from the fp32 file; return how it was made."""
    try:
        with fast_quantizing(fp32) if uses(Shortcut.WEIGHTS) else nullcontext():
            return way(fp32, path, data)
    except NoCalibrationData as error:
        raise Failure(FailureClass.MODEL, Stage.QUANTIZE, str(error)) from error
    except (Exception, SystemExit) as error:
        raise explained(Stage.QUANTIZE, error, "the quantizer fails") from error
