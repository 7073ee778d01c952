"""What a campaign says at its end."""

from typing import Any

from nnlite.cli.presenting.verdicts import verdict_lines


def row(verdict: str, measurements: int, cause: str | None = None, *reasons: str) -> dict[str, Any]:
    return {
        "verdict": verdict, "measurements": measurements, "noise_cause": cause, "reasons": list(reasons),
        "interval_pairs": 19,
    }  # fmt: skip


def test_verdicts_are_counted_with_their_causes_and_what_helps():
    rows = [
        row("valid", 40),
        row("noisy", 3, "other processes used 1.8 of 2 cores", "spread"),
        row("noisy", 1, "other processes used 0.9 of 2 cores, steal 3 %", "drift"),
        row("noisy", 2, "no cause visible", "spread"),
        row("throttled", 1, "thermal status 3", "thermal"),
        row("invalid", 1, None, "parity"),
        row("valid", 1, None, "few_runs"),
    ]
    assert verdict_lines(rows, "night") == [
        "results: 41 valid, 6 noisy (4 other processes, 2 no cause visible), 1 throttled (1 heat), "
        "1 invalid (1 parity)",
        "what helps: fewer other programs, or NNLITE_MEASUREMENT__CORES; cooling. "
        "To measure the 7 again: nnlite retry night --noisy",
    ]


def test_valid_results_need_nothing():
    assert verdict_lines([row("valid", 2)], "night") == ["results: 2 valid"]
    assert verdict_lines([], "night") == []


def test_a_result_of_an_earlier_release_has_reasons_only():
    assert verdict_lines([row("noisy", 1, None, "spread", "drift")], "old") == [
        "results: 1 noisy (1 spread, drift)",
        "To measure the 1 again: nnlite retry old --noisy",
    ]


def test_intervals_that_rest_on_an_assumption_say_so():
    said = "± is in part assumed: 3 of 19 pairs of runs known; --repeat 5 adds 4 per model"
    rows = [row("valid", 2), row("valid", 1) | {"interval_pairs": 3}]
    assert verdict_lines(rows, "night") == ["results: 3 valid", said]
    without_latency = row("invalid", 1, None, "runtime") | {"interval_pairs": 0}
    assert verdict_lines([without_latency], "night") == ["results: 1 invalid (1 runtime)"]
