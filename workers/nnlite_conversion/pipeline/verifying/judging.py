"""Judges the comparison of an artifact's outputs with PyTorch's: ok, off or unknown, and where."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nnlite.vocabulary import ParityState, Precision
from nnlite_conversion.outcome import Parity, Place
from nnlite_conversion.pipeline.verifying.comparison import Floats, OutputComparison, Sums

# Measured on 49 random models of LEMUR with seeded weights (seed 7, 128 samples): fp32 at most 2.3e-6, fp16
# at most 3.6e-4; dynamic 34.7 to 74.7 dB, median 47, and one NaN; int8 12.4 to 50.8 dB, median 35, and two
# that LiteRT refused. An artifact beyond these limits is therefore wrong, not merely coarse.
# On 16 others, over all inputs: fp32 at most 2.6e-6, fp16 2.7e-4; dynamic at least 35.5 dB, int8 13.7 dB; no
# slice had a scale of its own, and no state differed from that by one ratio over the seeded input.
#: Largest `max_abs / range` of an artifact that counts as equal to its model.
MAX_RELATIVE = {Precision.FP32: 1e-3, Precision.FP16: 1e-2}
#: A difference below this share of an output's largest magnitude is rounding in single precision, however
#: little a slice changes.
ROUNDING = 4 * float(np.finfo(np.float32).eps)
#: Larger magnitudes are masks, such as -1e9 for what cannot be chosen. No other value is computed with them:
#: they excuse no difference.
MAX_ROUNDED = 1e4
#: Smallest signal-to-quantization-noise ratio of an artifact that is quantized to integers, dB.
MIN_SQNR_DB = {Precision.DYNAMIC: 20.0, Precision.INT8: 10.0, Precision.MIXED: 10.0}
#: Largest share of the elements of a boolean or integer output that may differ: so many values change sides
#: of a threshold when noise at the limits above is added to them.
MAX_DIFFERENT = {
    Precision.FP32: 1e-3,
    Precision.FP16: 1e-2,
    Precision.DYNAMIC: 0.032,
    Precision.INT8: 0.1,
    Precision.MIXED: 0.1,
}
#: Largest difference of an output of integer precisions that is always zero in PyTorch.
MAX_OF_ZERO = 1e-2
#: Fewest channels of an image-like output of which one may be lost to rounding, as a class of a segmentation
#: that is zero nearly everywhere: it competes with the others, by their scale.
_MIN_CHANNELS = 6
_IMAGE_RANK = 4

_SEVERITY = (ParityState.OK, ParityState.UNKNOWN, ParityState.OFF)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is known of one output or slice."""

    place: Place
    state: ParityState
    reason: str | None = None
    max_abs: float | None = None
    range: float | None = None
    relative: float | None = None
    sqnr_db: float | None = None


@dataclass(frozen=True, kw_only=True)
class OutputJudge:
    """Judges one output and its slices."""

    precision: Precision
    number: int
    output: OutputComparison
    #: Quantization step; None: not quantized.
    step: float | None = None

    def findings(self) -> list[Finding]:
        """Return what is known of the output as a whole and of its slices."""
        place = Place(output=self.number)
        if self.output.mismatch:
            return [Finding(place=place, state=ParityState.OFF, reason=self.output.mismatch)]
        if not self.output.compared:
            reason = "no value is finite, for any input"
            return [Finding(place=place, state=ParityState.UNKNOWN, reason=reason)]
        whole = self.output.whole
        found = [self._of_slice(place, whole, 0, whole.sqnr_db)]
        if not self.output.discrete:
            for axis, sums in self.output.slices():
                found += self._of_axis(axis, sums)
        if self.output.constant:
            reason = "it is the same for every input"
            found.append(Finding(place=place, state=ParityState.UNKNOWN, reason=reason))
        return found

    def _of_axis(self, axis: int | None, sums: Sums) -> Iterator[Finding]:
        """Yield a finding for each slice that has a scale of its own, or that has only NaN."""
        if axis is not None:
            for index in np.flatnonzero((sums.count == 0) & sums.nan):
                reason = "every value is NaN, for every input"
                yield Finding(place=self._place(axis, index), state=ParityState.UNKNOWN, reason=reason)
        found = [
            self._of_slice(self._place(axis, index), sums, int(index), sums.change_db)
            for index in np.flatnonzero(sums.alone)
        ]
        off = [finding for finding in found if finding.state is ParityState.OFF]
        classes = axis is not None and len(sums.count) >= _MIN_CHANNELS and self.output.rank == _IMAGE_RANK
        if len(off) == 1 and classes and self.step is not None and (off[0].max_abs or 0.0) <= self.step:
            found.remove(off[0])
        yield from found

    def _place(self, axis: int | None, index: Any) -> Place:
        if axis is None:
            return Place(output=self.number, input=int(index))
        return Place(output=self.number, axis=axis, index=int(index))

    def _of_slice(self, place: Place, sums: Sums, index: int, decibels: Floats) -> Finding:
        sqnr = float(decibels[index])
        finding = Finding(
            place=place,
            state=ParityState.OK,
            max_abs=float(sums.max_abs[index]),
            range=float(sums.range[index]),
            relative=float(sums.relative[index]),
            sqnr_db=None if np.isnan(sqnr) else sqnr,
        )
        reason = _exceeded_limit(self.precision, finding)
        if reason is not None and self.precision is Precision.FP32:
            largest = float(self.output.whole.magnitude[0])
            if float(sums.max_abs[index]) <= ROUNDING * largest <= ROUNDING * MAX_ROUNDED:
                return Finding(place=place, state=ParityState.OK)
        if reason is not None and self.output.discrete:
            share, limit = self.output.different / float(sums.count[index]), MAX_DIFFERENT[self.precision]
            if share <= limit:
                return Finding(place=place, state=ParityState.OK)
            reason = f"{share:.1%} of the values differ, limit {limit:.1%}"
        if reason is None and self.output.discrete and self.precision not in MAX_RELATIVE:
            # A threshold that noise crosses is a difference of the whole range, and no error.
            return replace(finding, max_abs=None, range=None, relative=None)
        return finding if reason is None else replace(finding, state=ParityState.OFF, reason=reason)


def combined(
    precision: Precision, outputs: Sequence[OutputComparison], findings: Sequence[Sequence[Finding]]
) -> Parity:
    """Return the parity over all outputs: the worst state, its reasons, the worst measures."""
    every = [finding for of_output in findings for finding in of_output]
    state = max((finding.state for finding in every), key=_SEVERITY.index)
    by_relative = max(
        (finding for finding in every if finding.relative is not None),
        key=lambda finding: finding.relative or 0.0,
        default=None,
    )
    by_sqnr = min(
        (finding for finding in every if finding.sqnr_db is not None),
        key=lambda finding: finding.sqnr_db or 0.0,
        default=None,
    )
    worst = by_relative if precision in MAX_RELATIVE else by_sqnr or by_relative
    cosines = [output.cosine for output in outputs if output.cosine is not None]
    return Parity(
        state=state,
        reason="; ".join(_reasons(findings)) or None,
        worst=worst.place if worst else None,
        max_abs=by_relative.max_abs if by_relative else None,
        range=by_relative.range if by_relative else None,
        relative=by_relative.relative if by_relative else None,
        sqnr_db=by_sqnr.sqnr_db if by_sqnr else None,
        cosine=min(cosines, default=None),
    )


def derived(precision: Precision, parity: Parity, of_fp32: Parity | None) -> Parity:
    """Return the parity of an artifact that was made from an fp32 one: where that is off, it is not `ok`.

    It is `off` too, but `unknown` where the fp32 artifact differs by less than the precision's own limit:
    then its own measures do not tell that difference from rounding.

    Args:
        precision: of the derived artifact.
        parity: its own.
        of_fp32: None: not known.
    """
    if of_fp32 is None or of_fp32.state is not ParityState.OFF or parity.state is ParityState.OFF:
        return parity
    measured = _exceeded_limit(Precision.FP32, of_fp32) is not None
    within = measured and _exceeded_limit(precision, of_fp32) is None
    reason = f"the fp32 artifact that it is made from is off: {of_fp32.reason}"
    return replace(
        parity,
        state=ParityState.UNKNOWN if within else ParityState.OFF,
        reason="; ".join(filter(None, (parity.reason, reason))),
    )


def _reasons(findings: Sequence[Sequence[Finding]]) -> Iterator[str]:
    """Yield for each output the reason of its worst finding, outputs that are off first."""
    worst = [
        max(of_output, key=lambda finding: (_SEVERITY.index(finding.state), _badness(finding)))
        for of_output in findings
    ]
    for state in (ParityState.OFF, ParityState.UNKNOWN):
        yield from (f"{finding.place}: {finding.reason}" for finding in worst if finding.state is state)


def _badness(finding: Finding) -> float:
    return finding.relative or 0.0 if finding.sqnr_db is None else -finding.sqnr_db


def _exceeded_limit(precision: Precision, finding: Finding | Parity) -> str | None:
    limit = MAX_RELATIVE.get(precision)
    if limit is not None:
        over = finding.relative is not None and finding.relative > limit
        return f"largest difference over range is {finding.relative:.2e}, limit {limit:g}" if over else None
    least = MIN_SQNR_DB[precision]
    if finding.sqnr_db is None:
        over = finding.max_abs is not None and finding.max_abs > MAX_OF_ZERO
        return f"it differs by {finding.max_abs:.2e} from zero, limit {MAX_OF_ZERO:g}" if over else None
    if finding.sqnr_db < least:
        return f"signal to quantization noise is {finding.sqnr_db:.1f} dB, limit {least:g} dB"
    return None
