"""Derives a stored measurement again: statistics, gating, shape, parity, verdict and cause from its raw data.

By the functions that made it, with the settings that were in force. Where raw data are missing, because they
were thinned or withheld, what is stored is searched for contradictions, and a note says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nnlite.artifacts.inputs import from_raw_bytes
from nnlite.backends import CPU_BACKENDS
from nnlite.reports.differences import Difference, differences
from nnlite.reports.schema import Canary, Gating, Latency, MeasurementReport, Parity, Slices
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import ParityState, Reason
from nnlite_benchmark.protocol.analysis.counted import Counted, counted_runs
from nnlite_benchmark.protocol.analysis.judgement import judged_report
from nnlite_benchmark.protocol.analysis.parity import parity_with_files
from nnlite_benchmark.protocol.analysis.shape import shape_of
from nnlite_benchmark.protocol.analysis.statistics import Samples, summarize
from nnlite_benchmark.protocol.analysis.sustained import sustained_of
from nnlite_benchmark.protocol.gating import MIN_SLICES, Gate, select
from nnlite_benchmark.protocol.runs import canary_drift

#: Reasons that follow from the samples; the second ones do if runs are gated.
_OF_SAMPLES: Final = frozenset({Reason.SPREAD, Reason.DRIFT})
_OF_GATE: Final = frozenset({Reason.SHARED_CORE, Reason.CANARY, Reason.FEW_RUNS})
#: Standard deviations of a quantile's rank among kept samples, beyond which it is not that of all samples.
_SURE: Final = 6.0

THINNED: Final = "thinned: some samples are stored, so statistics are only searched for contradictions"
NO_OUTPUTS: Final = "outputs of the device are not stored, so its parity follows from the stored measure"
WITHHELD: Final = "no samples are stored, so statistics and what follows from them cannot be derived"


@dataclass(frozen=True, kw_only=True)
class OutputFiles:
    """Raw files from which the device's parity is derived."""

    #: The host's outputs.
    expected: tuple[Path, ...]
    #: The device's outputs; None: it is not stored.
    outputs: tuple[Path | None, ...]
    #: Quantization steps, as `device_parity` takes them.
    steps: tuple[float | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """A stored measurement, compared with the same derived again."""

    differences: tuple[Difference, ...]
    #: What could not be derived, and why.
    notes: tuple[str, ...] = ()


def derive(stored: MeasurementReport, files: OutputFiles | None = None) -> Derivation:
    """Derive a measurement again and compare.

    Args:
        stored: the whole report, with samples.
        files: of the outputs; None: they are not at hand.

    Raises:
        OSError: a file cannot be read.
        ValueError: samples, slices or settings of the measurement do not match each other.
    """
    settings = MeasurementSettings.model_validate(stored.bounds)
    samples = np.array(stored.samples_ns, np.int64)
    update: dict[str, Any] = {"canary": _canary(stored.canary), "parity": _parity(stored, files)}
    if stored.sustained is not None and stored.sustained.bins is not None:
        update["sustained"] = sustained_of(
            stored.sustained, stored.sustained.seconds, settings.shape_tolerance
        )
    notes = [NO_OUTPUTS] if stored.parity and not _has_outputs(files) else []
    counted = None
    if not samples.size:
        update |= dict.fromkeys(("latency", "gating", "shape"))
        notes.append(WITHHELD)
    elif stored.samples_kept == "all":
        counted = _counted(samples, stored.gating, settings)
        update |= _statistics(samples, counted, settings)
    else:
        counted = _counted_of_kept(samples, stored.gating, settings)
        update["gating"] = counted and counted.gating
        notes.append(THINNED)
    derived = stored.model_copy(update=update)
    derived = derived.model_copy(update=_judged(derived, counted, settings))
    found = [*differences(stored.model_dump(mode="json"), derived.model_dump(mode="json"))]
    if stored.samples_kept == "uniform" and stored.latency is not None:
        found += _contradictions(stored.latency, stored.runs, samples, gated=counted is not None)
    return Derivation(differences=tuple(found), notes=tuple(notes))


def _statistics(samples: Samples, counted: Counted | None, settings: MeasurementSettings) -> dict[str, Any]:
    judged = counted.samples_ns if counted else samples
    return {
        "runs": int(samples.size),
        "latency": summarize(judged),
        "shape": shape_of(judged, settings.shape_tolerance),
        "gating": counted and counted.gating,
    }


def _counted(samples: Samples, gating: Gating | None, settings: MeasurementSettings) -> Counted | None:
    if gating is None:
        return None
    slices = Slices(**{name: getattr(gating, name) for name in Slices.model_fields})
    # The stored fast speed is the known one or the run's own, whichever is faster: with it the same counts.
    return counted_runs(samples, slices, Gate.of(settings, gating.fast_ns), settings)


def _counted_of_kept(
    samples: Samples, gating: Gating | None, settings: MeasurementSettings
) -> Counted | None:
    """Return the stored gating with what follows from its canaries alone."""
    if gating is None:
        return None
    selection = select(gating.canaries_ns, gating.learning_ns, Gate.of(settings, gating.fast_ns))
    enough = gating.counted_runs >= settings.few_runs and sum(selection.counted) >= MIN_SLICES
    names = ("fast_ns", "slow_share", "slow_ratio")
    update = {name: getattr(selection, name) for name in names} | {"enough": enough}
    return Counted(samples_ns=samples, gating=gating.model_copy(update=update))


def _canary(stored: Canary | None) -> Canary | None:
    if stored is None:
        return None
    drift = canary_drift(stored.before_p25_ns, stored.after_p25_ns)
    return stored.model_copy(update={"drift": drift})


def _parity(stored: MeasurementReport, files: OutputFiles | None) -> Parity | None:
    parity = stored.parity
    if parity is None:
        return None
    if files is None or not _has_outputs(files):
        return parity.model_copy(update={"ok": parity.worst is not None and parity.worst <= parity.limit})
    tensors = [
        from_raw_bytes(file.read_bytes(), output.shape, output.dtype)
        for output, file in zip(stored.outputs, filter(None, files.outputs), strict=True)
    ]
    return parity_with_files(files.expected, tensors, stored.precision, stored.backend, files.steps)


def _has_outputs(files: OutputFiles | None) -> bool:
    return files is not None and bool(files.outputs) and None not in files.outputs


def _judged(
    derived: MeasurementReport, counted: Counted | None, settings: MeasurementSettings
) -> dict[str, Any]:
    judgement = judged_report(
        derived,
        settings,
        runs=derived.runs,
        counted=counted,
        latency=derived.latency,
        parity=derived.parity,
        artifact_parity=derived.artifact_parity or ParityState.OK,
        canary=derived.canary,
        quiet=derived.quiet,
        states=(derived.before, derived.after),
        # Who refused an artifact is stored as the reason only.
        not_delegated=_is_not_delegated(derived),
        too_few_cores=derived.error is not None and Reason.TOO_FEW_CORES in derived.reasons,
    )
    reasons = judgement.reasons
    if not derived.samples_ns:
        unknown = _OF_SAMPLES | _OF_GATE if settings.gated else _OF_SAMPLES
        stored, certain = set(derived.reasons), set(reasons) - unknown
        if stored - unknown == certain:
            reasons = derived.reasons
    return {"verdict": judgement.verdict, "reasons": reasons, "noise_cause": judgement.noise_cause}


def _is_not_delegated(stored: MeasurementReport) -> bool:
    """Return whether the delegate took no node."""
    if stored.backend in CPU_BACKENDS:
        return False
    if stored.error is not None:
        return Reason.NOT_DELEGATED in stored.reasons
    return stored.delegation is None or stored.delegation.delegated_nodes == 0


def _contradictions(latency: Latency, runs: int, kept: Samples, *, gated: bool) -> Iterator[Difference]:
    """Yield statistics of all samples that a part of them cannot have."""
    if runs <= kept.size:
        yield Difference(field="runs", stored=runs, derived=f"more than {kept.size}")
    if gated:
        return  # of the kept samples it is not known which ones counted
    if latency.min_ns > (least := int(kept.min())):
        yield Difference(field="latency.min_ns", stored=latency.min_ns, derived=f"at most {least}")
    if latency.max_ns < (most := int(kept.max())):
        yield Difference(field="latency.max_ns", stored=latency.max_ns, derived=f"at least {most}")
    ordered = np.concatenate(([latency.min_ns], np.sort(kept), [latency.max_ns]))
    for field, percent in (("median_ns", 50), ("p90_ns", 90), ("p95_ns", 95), ("p99_ns", 99)):
        value: int | None = getattr(latency, field)
        low, high = _quantile_bounds(ordered, percent / 100)
        if value is not None and not low <= value <= high:
            yield Difference(field=f"latency.{field}", stored=value, derived=f"{low} to {high}")


def _quantile_bounds(ordered: Samples, share: float) -> tuple[int, int]:
    """Return between which values a quantile of all samples lies; `ordered` are some, and both ends."""
    last = ordered.size - 1
    spread = _SURE * float(np.sqrt(last * share * (1 - share))) + 1
    ranks = max(0, int(share * last - spread)), min(last, int(share * last + spread) + 1)
    return int(ordered[ranks[0]]), int(ordered[ranks[1]])
