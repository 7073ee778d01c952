"""Which results are compared with each other, and what a ranking says of each."""

import pytest

from nnlite.results.ranking import RankOptions, groups
from nnlite.vocabulary import Verdict


def result(model, median_ms=None, accuracy=None, **changes):
    values = {
        "campaign": "now", "model": model, "task": "img-classification", "dataset": "cifar-10",
        "pool": "phones", "precision": "fp32", "backend": "cpu", "threads": 1, "mode": "standard",
        "verdict": "valid", "reasons": [], "noise_cause": None, "error": None, "accuracy": accuracy,
        "parameters": 1000, "top1": None, "evaluation_data": None, "evaluation_seed": None,
        "evaluated_samples": None, "parity_state": "ok", "median_ns": median_ms and round(median_ms * 1e6),
        "interval_low_ns": median_ms and round(median_ms * 0.9e6),
        "interval_high_ns": median_ms and round(median_ms * 1.1e6),
    }  # fmt: skip
    return values | changes


def ranked(rows, **options):
    return groups(rows, "now", RankOptions(**options))


def ranks(group):
    return {row["model"]: (row["rank"], row["pareto"]) for row in group["results"]}


def test_the_front_comes_first_by_contribution_and_then_the_dominated():
    rows = [result("slow", 8, 0.9), result("fast", 2, 0.5), result("worse", 9, 0.4), result("middle", 7, 0.6)]
    (group,) = ranked(rows, reference_ms=10)
    assert ranks(group) == {"fast": (1, True), "slow": (2, True), "middle": (3, True), "worse": (4, False)}
    fast, *_ = group["results"]
    assert (fast["latency_ms"], fast["latency_low_ms"], fast["latency_high_ms"]) == (2.0, 1.8, 2.2)
    assert fast["hypervolume_contribution"] == pytest.approx(0.25)
    assert group["hypervolume"] == pytest.approx(0.8 * 0.5 + 0.3 * 0.1 + 0.2 * 0.3)


def test_results_of_other_pools_datasets_precisions_threads_and_modes_are_ranked_apart():
    others = [
        {"pool": "host"},
        {"dataset": "mnist"},
        {"precision": "int8"},
        {"threads": 4},
        {"backend": "gpu"},
        {"mode": "quick"},
    ]
    found = ranked([result("one", 1, 0.9), *(result("one", 2, 0.9, **other) for other in others)])
    assert len(found) == 7
    assert {row["rank"] for group in found for row in group["results"]} == {1}


def test_only_accepted_verdicts_and_trained_models_are_ranked_and_the_others_are_listed():
    rows = [
        result("good", 5, 0.5),
        result("noisy", 1, 0.9, verdict="noisy", reasons=["spread"]),
        result("untrained", 1),
        result("refused", None, 0.9, verdict="invalid", error="unknown operator"),
        result("wrong", 1, 0.9, verdict="invalid", reasons=["parity"]),
    ]
    (group,) = ranked(rows)
    by_model = {row["model"]: row for row in group["results"]}
    assert {name: row["rank"] for name, row in by_model.items()} == {
        "good": 1, "noisy": None, "untrained": None, "refused": None, "wrong": None,
    }  # fmt: skip
    assert by_model["noisy"]["latency_ms"] == by_model["untrained"]["latency_ms"] == 1.0
    assert by_model["wrong"]["latency_ms"] is None, "what is invalid has no latency"
    (group,) = ranked(rows, verdicts=(Verdict.VALID, Verdict.NOISY))
    assert ranks(group)["noisy"] == (1, True)


def test_models_of_earlier_campaigns_dominate_and_are_not_listed():
    rows = [
        result("new", 5, 0.5),
        result("better", 4, 0.6, campaign="before"),
        result("elsewhere", 1, 0.1, campaign="before", pool="host"),
    ]
    (group,) = ranked(rows)
    assert group["pool"] == "phones"
    assert [(row["model"], row["front"], row["hypervolume_contribution"]) for row in group["results"]] == [
        ("new", 2, 0.0)
    ]


def test_the_reference_is_a_tenth_above_the_slowest_unless_one_is_named():
    (group,) = ranked([result("a", 2, 0.5), result("b", 10, 0.9)])
    assert round(group["reference_ms"], 6) == 11.0
    (group,) = ranked([result("a", 2, 0.5)], reference_ms=4)
    assert (group["reference_ms"], group["hypervolume"]) == (4, 0.25)


def test_a_group_without_ranked_results_has_no_reference():
    (group,) = ranked([result("untrained", 1)])
    assert (group["reference_ms"], group["hypervolume"]) == (None, 0.0)


def test_measured_accuracy_counts_where_all_were_evaluated_on_the_same_samples():
    digits = {"evaluation_data": "digits", "evaluation_seed": 0, "evaluated_samples": 360}
    rows = [result("a", 1, 0.5, top1=0.8, **digits), result("b", 2, 0.9, top1=0.7, **digits)]
    (group,) = ranked(rows)
    assert (group["accuracy_of"], ranks(group)) == ("evaluation", {"a": (1, True), "b": (2, False)})
    assert group["results"][0]["accuracy"] == 0.8
    for other in ({"top1": None}, {"evaluation_data": "others"}):
        (group,) = ranked([rows[0], rows[1] | other])
        accuracies = {row["model"]: row["accuracy"] for row in group["results"]}
        assert (group["accuracy_of"], accuracies) == ("training", {"a": 0.5, "b": 0.9})
