"""The verdict matrix: what makes a measurement invalid, noisy or annotated."""

from dataclasses import replace

import pytest

from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import ParityState, Reason, Verdict
from nnlite_benchmark.protocol.analysis.verdict import Evidence, judge

CLEAN = Evidence(
    runs=200,
    parity_ok=True,
    mad_ratio=0.02,
    slice_drift=0.03,
    canary_drift=0.01,
    quiet=True,
    delegated_nodes=10,
    total_nodes=10,
)


def verdict_of(**changes):
    return judge(replace(CLEAN, **changes), MeasurementSettings())


def test_clean_evidence_is_valid_without_reasons():
    assert verdict_of() == (Verdict.VALID, ())


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"runs": 49}, Verdict.VALID, Reason.FEW_RUNS),
        ({"runs": 5}, Verdict.VALID, Reason.FEW_RUNS),
        ({"delegated_nodes": 9}, Verdict.VALID, Reason.PARTIAL_DELEGATION),
        ({"delegated_nodes": 0}, Verdict.VALID, Reason.PARTIAL_DELEGATION),
        ({"artifact_parity": ParityState.OFF}, Verdict.VALID, Reason.ARTIFACT_PARITY),
        ({"artifact_parity": ParityState.UNKNOWN}, Verdict.VALID, Reason.ARTIFACT_PARITY_UNKNOWN),
        ({"mad_ratio": 0.11}, Verdict.NOISY, Reason.SPREAD),
        ({"slice_drift": 0.11}, Verdict.NOISY, Reason.DRIFT),
        ({"canary_drift": 0.11}, Verdict.NOISY, Reason.CANARY),
        ({"quiet": False}, Verdict.NOISY, Reason.NOT_QUIET),
        ({"counted_runs": 4, "gate_passed": False}, Verdict.NOISY, Reason.SHARED_CORE),
        ({"counted_runs": 49, "gate_passed": True}, Verdict.VALID, Reason.FEW_RUNS),
        ({"thermal_status": 1}, Verdict.THROTTLED, Reason.THERMAL),
        ({"runs": 4}, Verdict.INVALID, Reason.TOO_SLOW),
        ({"parity_ok": False}, Verdict.INVALID, Reason.PARITY),
        ({"refused": True, "runs": 0}, Verdict.INVALID, Reason.RUNTIME),
        ({"refused": True, "too_few_cores": True, "runs": 0}, Verdict.INVALID, Reason.TOO_FEW_CORES),
    ],
)
def test_each_problem_has_a_verdict_and_a_reason(changes, verdict, reason):
    assert verdict_of(**changes) == (verdict, (reason,))


@pytest.mark.parametrize(
    "limit", [{"mad_ratio": 0.10}, {"slice_drift": 0.10}, {"canary_drift": 0.10}, {"runs": 50}]
)
def test_a_value_at_its_limit_is_valid(limit):
    assert verdict_of(**limit) == (Verdict.VALID, ())


def test_the_canarys_drift_is_not_judged_where_enough_runs_passed_the_gate():
    passed = {"counted_runs": 50, "gate_passed": True}
    assert verdict_of(canary_drift=0.6, **passed) == (Verdict.VALID, ())
    reasons = (Reason.CANARY, Reason.SHARED_CORE)
    assert verdict_of(canary_drift=0.6, counted_runs=4, gate_passed=False) == (Verdict.NOISY, reasons)


def test_unknown_evidence_is_ignored():
    assert judge(Evidence(runs=50), MeasurementSettings()) == (Verdict.VALID, ())


def test_the_most_severe_reason_decides_and_all_are_kept():
    verdict, reasons = verdict_of(parity_ok=False, quiet=False, runs=10)

    assert verdict is Verdict.INVALID
    assert reasons == (Reason.PARITY, Reason.NOT_QUIET, Reason.FEW_RUNS)


def test_limits_come_from_the_settings():
    settings = MeasurementSettings(max_mad_ratio=0.01)

    assert judge(CLEAN, settings) == (Verdict.NOISY, (Reason.SPREAD,))
