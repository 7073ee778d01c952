"""Counted runs of a measurement: which samples passed the gate, and what is stored about it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nnlite.reports.schema import Gating, Slices
from nnlite.settings.groups import MeasurementSettings
from nnlite_benchmark.protocol.analysis.statistics import Samples
from nnlite_benchmark.protocol.gating import MIN_SLICES, Gate, Selection, select

#: Share of slow canaries from which the machine is named as the cause of a noisy measurement.
_BUSY_SHARE: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The runs of a gated measurement that counted."""

    #: All samples where too few counted.
    samples_ns: Samples
    gating: Gating

    @property
    def cause(self) -> str | None:
        """What would make these runs noisy: "shared core: 77 % of the time 1.6 times slower"."""
        if self.gating.slow_ratio is None or self.gating.slow_share < _BUSY_SHARE:
            return None
        share, ratio = self.gating.slow_share, self.gating.slow_ratio
        return f"shared core: {100 * share:.0f} % of the time {ratio:.1f} times slower"


def counted_runs(samples_ns: Samples, slices: Slices, gate: Gate, settings: MeasurementSettings) -> Counted:
    """Return the runs that counted.

    Raises:
        ValueError: the slices do not match the samples, or each other.
    """
    _check(samples_ns, slices)
    selection = select(slices.canaries_ns, slices.learning_ns, gate)
    counts = np.repeat(np.array(selection.counted, bool), slices.slice_runs)
    counted_ns = samples_ns[counts]
    enough = counted_ns.size >= settings.few_runs and sum(selection.counted) >= MIN_SLICES
    return Counted(
        samples_ns=counted_ns if enough else samples_ns,
        gating=_gating(samples_ns, counts, slices, selection, enough=enough),
    )


def of_kept(gating: Gating, kept: NDArray[np.int64]) -> Gating:
    """Return `gating` with the number of kept samples of each slice; `kept` are their sorted indices."""
    ends = np.searchsorted(kept, np.cumsum(gating.slice_runs), side="left")
    return gating.model_copy(update={"slice_runs": tuple(np.diff(ends, prepend=0).tolist())})


def _check(samples_ns: Samples, slices: Slices) -> None:
    number = len(slices.slice_runs)
    if sum(slices.slice_runs) != samples_ns.size or 0 in slices.slice_runs:
        raise ValueError(f"{sum(slices.slice_runs)} runs in slices, {samples_ns.size} samples")
    if not number or len(slices.canaries_ns) != number + 1:
        raise ValueError(f"{number} slices between {len(slices.canaries_ns)} canaries")
    if len(slices.slice_first_ns) not in (0, number):
        raise ValueError(f"{number} slices with {len(slices.slice_first_ns)} first runs")


def _gating(
    samples_ns: Samples, counts: NDArray[np.bool_], slices: Slices, selection: Selection, *, enough: bool
) -> Gating:
    total_ns = int(samples_ns.sum())
    return Gating(
        **slices.model_dump(),
        fast_ns=selection.fast_ns,
        enough=enough,
        counted_runs=int(counts.sum()),
        counted_share=int(samples_ns[counts].sum()) / total_ns if total_ns else 0.0,
        slow_share=selection.slow_share,
        slow_ratio=selection.slow_ratio,
        all_median_ns=round(float(np.median(samples_ns))),
        all_min_ns=int(samples_ns.min()),
    )
