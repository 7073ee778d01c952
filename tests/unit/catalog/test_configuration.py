"""The choice of one configuration per model."""

import pytest

from nnlite.catalog.lemur.configuration import (
    OTHER_DEFAULT,
    TrainingConfig,
    Trial,
    TrialFilter,
    choose,
    default_hyperparameters,
    hyperparameters_of,
)

EVERY = TrialFilter()


def a_trial(name: str = "net", uid: str = "a", **values) -> Trial:
    usual = {
        "name": name,
        "task": "img-classification",
        "dataset": "cifar-10",
        "metric": "acc",
        "transform": "norm_64",
        "uid": uid,
        "batch": 32,
        "duration_ns": 1_000.0,
        "accuracy": 0.5,
        "values": {},
    }
    return Trial(**usual | values)


def chosen(*trials: Trial) -> str:
    return choose(trials, EVERY).trials["net"].uid


def test_the_fastest_trial_is_chosen():
    assert chosen(a_trial(uid="slow", duration_ns=2.0), a_trial(uid="fast", duration_ns=1.0)) == "fast"


def test_a_small_batch_is_preferred_to_a_faster_large_one():
    assert chosen(a_trial(uid="large", batch=33, duration_ns=1.0), a_trial(uid="small", batch=32)) == "small"


def test_a_model_that_was_only_trained_with_large_batches_keeps_its_fastest_trial():
    assert (
        chosen(a_trial(uid="b", batch=64, duration_ns=2.0), a_trial(uid="a", batch=512, duration_ns=1.0))
        == "a"
    )


def test_equally_fast_trials_are_decided_by_uid_in_any_order():
    assert chosen(a_trial(uid="b"), a_trial(uid="a")) == chosen(a_trial(uid="a"), a_trial(uid="b")) == "a"


def test_trials_on_every_dataset_compete():
    assert chosen(a_trial(uid="slow"), a_trial(uid="fast", dataset="mnist", duration_ns=1.0)) == "fast"


def test_only_trials_that_pass_the_filter_compete():
    trials = [a_trial(uid="fast", duration_ns=1.0), a_trial(uid="asked for", transform="echo")]
    assert choose(trials, TrialFilter(transform="echo")).trials["net"].uid == "asked for"


def test_a_model_whose_trials_were_all_filtered_out_is_marked():
    choices = choose([a_trial("one"), a_trial("two", dataset="mnist")], TrialFilter(dataset="mnist"))
    assert choices.filtered_out == {"one"}
    assert set(choices.trials) == {"two"}


def test_a_model_without_trials_takes_what_most_siblings_have():
    trials = [
        a_trial("ga-1", transform="echo"),
        a_trial("ga-2", transform="echo"),
        a_trial("ga-3", transform="norm_64"),
        *(a_trial(f"alt-{n}", transform="norm_256") for n in range(5)),
    ]
    setting = choose(trials, EVERY).default_config("ga-untrained")
    assert setting == TrainingConfig("img-classification", "cifar-10", "acc", "echo")


def test_each_sibling_has_one_vote_however_often_it_was_trained():
    often = [a_trial("ga-1", uid=str(n), transform="norm_256", duration_ns=5.0) for n in range(9)]
    choices = choose([*often, a_trial("ga-2"), a_trial("ga-3")], EVERY)
    assert choices.default_config("ga-4").transform == "norm_64"


def test_without_siblings_the_most_frequent_of_all_decides():
    choices = choose([a_trial("ga-1", transform="echo"), a_trial("ga-2", transform="echo")], EVERY)
    assert choices.default_config("SSDFull").transform == "echo"


def test_without_any_trial_there_is_no_default():
    assert choose([], EVERY).default_config("ga-1") is None


def test_accuracy_duration_and_uid_are_not_configuration():
    values = {"lr": 0.1, "batch": 8, "transform": "echo", "accuracy": 0.9, "duration": 7, "uid": "x"}
    assert hyperparameters_of(values) == {"lr": 0.1, "batch": 8, "transform": "echo"}


@pytest.mark.parametrize(("name", "value"), [("lr", 0.01), ("momentum", 0.9), ("unheard_of", OTHER_DEFAULT)])
def test_every_supported_hyperparameter_gets_a_value(name, value):
    assert default_hyperparameters([name], "echo") == {name: value, "batch": 1, "transform": "echo"}
