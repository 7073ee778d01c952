"""NN-GPT's tracker: the fields of its edge scorer, in their order, and its ranking."""

from datetime import datetime
from pathlib import Path

from nnlite.exports.edge_tracker import Scored, edge_tracker, efficiency

#: As NN-GPT's EdgeScore.py and EdgeBench.py write them, and `tflite_parity`.
FIELDS = (
    "timestamp dataset input_size param_limit similarity_threshold epoch_root per_epoch per_model "
    "best_model best_efficiency best_epoch"
)
EPOCH_FIELDS = "epoch models evaluated eligible best_efficiency best_model"
MODEL_FIELDS = (
    "tag epoch model_id novel structurally_novel max_similarity similar_to eligible nn_file dataset "
    "input_size accuracy params param_gate_ok param_limit torch_cpu_latency_ms tflite_ok tflite_error "
    "tflite_path tflite_parity latency_ms latency_source efficiency error torch_num_threads"
)
REJECTED_FIELDS = "tag epoch model_id pre_eval_rejected rejection_reason novel eligible accuracy efficiency"


def scored(tag: str, **changes) -> Scored:
    values = {
        "dataset": "cifar-10",
        "input_size": 256,
        "accuracy": 0.5,
        "parameters": 1000,
        "tflite_path": f"/store/{tag}.tflite",
        "latency_ms": 2.0,
        "latency_source": "phones/lab-phone cpu int8",
    }
    return Scored(tag=tag, **(values | changes))


def tracker(*models: Scored):
    return edge_tracker(
        models, param_limit=6_000_000, epoch_root=Path("/out/epoch"), timestamp=datetime(2026, 11, 23, 12)
    )


def test_the_fields_are_those_of_the_edge_scorer_in_their_order():
    written = tracker(scored("A0_B3"))
    assert list(written) == FIELDS.split()
    assert list(written["per_epoch"][0]) == EPOCH_FIELDS.split()
    (model,) = written["per_model"]
    assert list(model) == MODEL_FIELDS.split()
    assert (model["epoch"], model["model_id"]) == ("0", "B3")
    assert model["nn_file"] == "/out/epoch/A0/synth_nn/B3/new_nn.py"
    assert written["timestamp"] == "2026-11-23T12:00:00"


def test_a_model_that_was_rejected_before_its_evaluation_has_the_fields_of_one():
    (model,) = tracker(scored("A2_B0", rejection="similar to nn_1"))["per_model"]
    assert list(model) == REJECTED_FIELDS.split()
    assert (model["rejection_reason"], model["novel"], model["accuracy"]) == ("similar to nn_1", False, None)


def test_latencies_have_three_places_and_efficiency_is_of_these():
    (model,) = tracker(scored("A0_B0", latency_ms=0.123456))["per_model"]
    assert (model["latency_ms"], model["input_size"], model["dataset"]) == (0.123, 256, "cifar-10")
    assert model["efficiency"] == round(0.5 / 0.123, 6)


def test_efficiency_is_accuracy_by_milliseconds_to_six_places():
    assert efficiency(0.8123, 3.0) == 0.270767
    assert efficiency(None, 3.0) is None
    assert efficiency(0.8, None) is None


def test_the_best_is_the_most_efficient_that_may_count():
    written = tracker(
        scored("A0_B0", latency_ms=10.0),
        scored("A0_B1", latency_ms=5.0),
        scored("A1_B0", latency_ms=1.0, parameters=6_000_001),
        scored("A1_B1", latency_ms=1.0, novel=False),
        scored("A2_B0", latency_ms=None, error="no measurement"),
        scored("A10_B0", latency_ms=4.0),
        scored("A10_B1", accuracy=None),
    )
    assert (written["best_model"], written["best_efficiency"], written["best_epoch"]) == (
        "A10_B0",
        0.125,
        "10",
    )
    counts = [
        (epoch["epoch"], epoch["models"], epoch["evaluated"], epoch["eligible"])
        for epoch in written["per_epoch"]
    ]
    assert counts == [("0", 2, 2, 2), ("1", 2, 2, 0), ("2", 1, 1, 0), ("10", 2, 1, 1)]
    assert [epoch["best_model"] for epoch in written["per_epoch"]] == ["A0_B1", None, None, "A10_B0"]
    assert [model["param_gate_ok"] for model in written["per_model"]] == [
        True,
        True,
        False,
        True,
        True,
        True,
        True,
    ]


def test_a_run_of_nothing_is_a_tracker_of_nothing():
    written = tracker()
    assert (written["per_model"], written["best_model"], written["dataset"]) == ([], None, "cifar-10")
