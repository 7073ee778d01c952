"""Judges a measurement: its verdict (valid, noisy, throttled, invalid) and the reasons."""

from dataclasses import dataclass
from typing import Final

from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import ParityState, Reason, Verdict

#: Reasons that make a measurement invalid or noisy; all others only annotate it.
INVALIDATING: Final = frozenset(
    {Reason.RUNTIME, Reason.NOT_DELEGATED, Reason.TOO_FEW_CORES, Reason.PARITY, Reason.TOO_SLOW}
)
DISTURBING: Final = frozenset(
    {
        Reason.SPREAD,
        Reason.DRIFT,
        Reason.CANARY,
        Reason.NOT_QUIET,
        Reason.NOT_TOP_APP,
        Reason.SHARED_CORE,
    }
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The inputs of a verdict. None: unknown, or not judged."""

    #: Timed runs; without an error at least 1.
    runs: int
    #: Those that passed the gate; None: there was none, and all count.
    counted_runs: int | None = None
    #: Enough passed the gate: the machine's drift is then no drift of the measurement.
    gate_passed: bool | None = None
    #: It was not measured: the runtime rejected the artifact, or the device has too few cores.
    refused: bool = False
    #: The device has fewer cores than threads were asked for.
    too_few_cores: bool = False
    parity_ok: bool | None = None
    artifact_parity: ParityState = ParityState.OK
    mad_ratio: float | None = None
    slice_drift: float | None = None
    canary_drift: float | None = None
    quiet: bool = True
    delegated_nodes: int | None = None
    total_nodes: int | None = None
    #: The backend's delegate took no node.
    not_delegated: bool = False
    #: The app was in the foreground and scheduled as such; None: no app.
    in_front: bool | None = None
    #: The highest thermal status before, during and after the runs; None: unknown.
    thermal_status: int | None = None


def judge(evidence: Evidence, settings: MeasurementSettings) -> tuple[Verdict, tuple[Reason, ...]]:
    """Return the verdict and all reasons, the most severe first."""
    reasons = tuple(reason for reason, holds in _reasons(evidence, settings).items() if holds)
    if INVALIDATING & set(reasons):
        return Verdict.INVALID, reasons
    if Reason.THERMAL in reasons:
        return Verdict.THROTTLED, reasons
    if DISTURBING & set(reasons):
        return Verdict.NOISY, reasons
    return Verdict.VALID, reasons


def _reasons(evidence: Evidence, settings: MeasurementSettings) -> dict[Reason, bool]:
    measured = not evidence.refused
    runs = evidence.counted_runs if evidence.gate_passed and evidence.counted_runs else evidence.runs
    return {
        Reason.NOT_DELEGATED: evidence.not_delegated,
        Reason.TOO_FEW_CORES: evidence.too_few_cores,
        Reason.RUNTIME: evidence.refused and not (evidence.not_delegated or evidence.too_few_cores),
        Reason.PARITY: evidence.parity_ok is False,
        Reason.TOO_SLOW: measured and evidence.runs < settings.few_runs,
        Reason.THERMAL: _above(evidence.thermal_status, settings.max_thermal_status),
        Reason.SPREAD: _above(evidence.mad_ratio, settings.max_mad_ratio),
        Reason.DRIFT: _above(evidence.slice_drift, settings.max_slice_drift),
        Reason.CANARY: not evidence.gate_passed and _above(evidence.canary_drift, settings.max_canary_drift),
        Reason.NOT_QUIET: measured and not evidence.quiet,
        Reason.NOT_TOP_APP: measured and evidence.in_front is False,
        Reason.SHARED_CORE: measured and evidence.gate_passed is False,
        Reason.FEW_RUNS: measured and settings.few_runs <= runs < settings.min_runs,
        Reason.PARTIAL_DELEGATION: _is_partial(evidence),
        Reason.ARTIFACT_PARITY: evidence.artifact_parity is ParityState.OFF,
        Reason.ARTIFACT_PARITY_UNKNOWN: evidence.artifact_parity is ParityState.UNKNOWN,
    }


def _above(value: float | None, limit: float) -> bool:
    return value is not None and value > limit


def _is_partial(evidence: Evidence) -> bool:
    if evidence.not_delegated or evidence.delegated_nodes is None or evidence.total_nodes is None:
        return False
    return evidence.delegated_nodes < evidence.total_nodes
