"""Judges a case: what a conversion says of each precision, and whether further inputs agree with it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nnlite.errors import FailureClass
from nnlite.vocabulary import CALIBRATED, ParityState, Precision
from nnlite_conversion.messages import Refusal, Report, artifact_name
from nnlite_conversion.outcome import ArtifactReport, ConversionJob, ConversionReport
from nnlite_conversion.pipeline.loading.load import Loaded, load
from nnlite_conversion.pipeline.lowering.lower import tensors_of
from nnlite_conversion.pipeline.verifying.drawn_inputs import integers
from nnlite_conversion.pipeline.verifying.parity import HostArtifact

#: Largest difference over range, or smallest ratio in dB, on inputs that parity has not seen.
MAX_RELATIVE = {Precision.FP32: 1e-3, Precision.FP16: 2e-2}
MIN_SQNR_DB = 5.0  # parity asks for 10, on the samples that int8 was calibrated on
#: Largest share of booleans and integers that may differ.
MAX_DIFFERENT = 0.15
#: Numbers at which operators change: signs, halves that are rounded to even, bounds of activations.
_SPECIAL = (0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.5, -2.5, 3.0, -3.0, 6.0, 0.25, -7.25)
_SEEDS = (1001, 1002)

Tensors = Sequence[NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Result of one precision of a case."""

    #: A state of parity; `refused`: it was not made; `wrong`: parity is `ok`, further inputs differ.
    state: str
    reason: str | None = None
    failure_class: FailureClass | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what is set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def judged(
    answer: Report | Refusal, precisions: Sequence[Precision], differing: Mapping[Precision, str]
) -> dict[Precision, Judgement]:
    """Return a judgement for each precision.

    Args:
        answer: of a conversion.
        differing: how artifacts differ on further inputs.
    """
    if isinstance(answer, Refusal):
        refusal = Judgement(state="refused", reason=answer.reason, failure_class=answer.failure_class)
        return dict.fromkeys(precisions, refusal)
    return of_report(answer, answer.artifacts, differing)


def of_report(
    report: ConversionReport, artifacts: Sequence[ArtifactReport], differing: Mapping[Precision, str]
) -> dict[Precision, Judgement]:
    """Return a judgement for each precision that was made or refused."""
    judgements = {
        each.precision: Judgement(state="refused", reason=each.reason, failure_class=each.failure_class)
        for each in report.refused
    }
    for artifact in artifacts:
        parity = artifact.parity
        if parity is None:  # of pre-built files only
            continue
        if parity.state is ParityState.OK and artifact.precision in differing:
            judgements[artifact.precision] = Judgement(state="wrong", reason=differing[artifact.precision])
        else:
            judgements[artifact.precision] = Judgement(state=parity.state, reason=parity.reason)
    return judgements


def differences(
    job: ConversionJob, artifacts: Sequence[ArtifactReport], folder: Path
) -> dict[Precision, str]:
    """Run artifacts whose parity is `ok` on further inputs; return how those that differ do."""
    ok = [each.precision for each in artifacts if each.parity and each.parity.state is ParityState.OK]
    if not ok:
        return {}
    loaded, _ = load(job, folder)
    found = {}
    for precision in ok:
        host = HostArtifact(folder / artifact_name(precision), 1)
        for inputs in _further_inputs(loaded, precision):
            with torch.no_grad():
                outputs = tensors_of(loaded.module(*map(torch.from_numpy, inputs)))
            expected = [output.numpy() for output in outputs]
            actual = host.reals(host.run(inputs))
            if reason := next(
                filter(None, map(_difference, [precision] * len(expected), expected, actual)), None
            ):
                found[precision] = reason
                break
    return found


def _further_inputs(loaded: Loaded, precision: Precision) -> Iterator[Tensors]:
    has_integers = any(sample.dtype.kind == "i" for sample in loaded.samples)
    ranges = loaded.integer_ranges.of_inputs if has_integers else [None] * len(loaded.samples)
    for seed in _SEEDS:
        chance = np.random.default_rng(seed)
        yield [_drawn(like, ends, chance, seed) for like, ends in zip(loaded.samples, ranges, strict=True)]
    # int8 is right within the range of its calibration, which is [-1, 1).
    if precision not in CALIBRATED and any(like.dtype.kind == "f" for like in loaded.samples):
        chance = np.random.default_rng(0)
        yield [
            np.resize(np.roll(np.asarray(_SPECIAL, like.dtype), number), like.shape)
            if like.dtype.kind == "f"
            else _drawn(like, ends, chance, 0)
            for number, (like, ends) in enumerate(zip(loaded.samples, ranges, strict=True))
        ]


def _drawn(
    like: NDArray[Any], ends: tuple[int, int] | None, chance: np.random.Generator, seed: int
) -> NDArray[Any]:
    if like.dtype.kind == "f":
        return chance.uniform(-1, 1, like.shape).astype(like.dtype)
    if like.dtype.kind == "b":
        return chance.random(like.shape) < 0.5
    return integers(like, *(ends or (0, 1)), seed)


def _difference(precision: Precision, expected: NDArray[Any], actual: NDArray[Any]) -> str | None:
    """Return how an output differs by more than the precision explains; None: it does not."""
    if expected.shape != actual.shape:
        return f"shape {actual.shape} instead of {expected.shape}"
    if expected.dtype.kind in "iub":
        differing = int((expected != actual).sum())
        exact = precision is Precision.FP32
        # One of few values may be a tie that rounding decides.
        allowed = 1e-3 * expected.size if exact else max(1, MAX_DIFFERENT * expected.size)
        return f"{differing / expected.size:.1%} of the values differ" if differing > allowed else None
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(actual)):
        return "infinities or NaN are at other places"
    wanted, got = expected[finite].astype(np.float64), actual[finite].astype(np.float64)
    if not wanted.size:
        return None
    # What is nearly constant is compared with its magnitude: of that, floats have seven digits.
    error, spread = np.abs(wanted - got).max(), max(np.ptp(wanted), 1e-3 * np.abs(wanted).max()) or 1.0
    if precision in MAX_RELATIVE:
        return (
            f"differs by {error / spread:.1e} of the range"
            if error > MAX_RELATIVE[precision] * spread
            else None
        )
    power, noise = float(np.square(wanted).mean()), float(np.square(wanted - got).mean())
    sqnr_db = 10 * np.log10(power / noise) if noise and power else np.inf
    return f"signal to quantization noise is {sqnr_db:.1f} dB" if sqnr_db < MIN_SQNR_DB else None
