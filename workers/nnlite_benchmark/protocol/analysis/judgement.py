"""Judges a report: collects the evidence of a run, and returns verdict, reasons and cause of noise.

The same for a run that has just ended and for a stored measurement that `nnlite verify` judges once more.
"""

from dataclasses import dataclass

from nnlite.reports.schema import (
    Canary,
    DeviceState,
    Latency,
    MeasurementReport,
    Parity,
    Quiet,
    RunReport,
    ThermalSeries,
)
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import ParityState, Reason, Verdict
from nnlite_benchmark.protocol.analysis.counted import Counted
from nnlite_benchmark.protocol.analysis.noise import noise_cause
from nnlite_benchmark.protocol.analysis.verdict import Evidence, judge


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a measurement is worth, and why."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    noise_cause: str | None


def judged_report(
    report: RunReport | MeasurementReport,
    settings: MeasurementSettings,
    *,
    runs: int,
    counted: Counted | None,
    latency: Latency | None,
    parity: Parity | None,
    artifact_parity: ParityState,
    canary: Canary | None,
    quiet: Quiet | None,
    states: tuple[DeviceState | None, DeviceState | None],
    not_delegated: bool,
    too_few_cores: bool,
) -> Judgement:
    """Judge a run by its report, or once more by the measurement that was made of it."""
    thermal_status = _highest(*states, series=report.thermal)
    verdict, reasons = judge(
        Evidence(
            runs=runs,
            counted_runs=counted.gating.counted_runs if counted else None,
            gate_passed=counted.gating.enough if counted and runs >= settings.few_runs else None,
            refused=report.error is not None,
            parity_ok=parity.ok if parity else None,
            artifact_parity=artifact_parity,
            mad_ratio=latency.mad_ratio if latency else None,
            slice_drift=latency.slice_drift if latency else None,
            canary_drift=canary.drift if canary else None,
            quiet=quiet.quiet if quiet else True,
            delegated_nodes=report.delegation.delegated_nodes if report.delegation else None,
            total_nodes=report.delegation.total_nodes if report.delegation else None,
            not_delegated=not_delegated,
            too_few_cores=too_few_cores,
            in_front=_is_in_front(report),
            thermal_status=thermal_status,
        ),
        settings,
    )
    cause = noise_cause(
        verdict,
        reasons,
        report.disturbance,
        thermal_status,
        shared_core=counted.cause if counted else None,
    )
    return Judgement(verdict=verdict, reasons=reasons, noise_cause=cause)


def _is_in_front(report: RunReport | MeasurementReport) -> bool | None:
    cpusets = [state.cpuset for state in (report.before, report.after) if state and state.cpuset]
    if report.in_front is None:
        return None
    return report.in_front and all("top-app" in cpuset for cpuset in cpusets)


def _highest(*states: DeviceState | None, series: ThermalSeries | None) -> int | None:
    """Return the highest thermal status before, during and after the runs; None: unknown."""
    statuses = [state.thermal_status for state in states if state]
    statuses += series.status if series else ()
    return max((status for status in statuses if status is not None), default=None)
