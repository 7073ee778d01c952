"""Generators ask for rankings: models are submitted, and results arrive one after the other."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from generated import net
from integration.canned import finish_benchmark, finish_conversion, with_median
from nnlite.campaigns.request import RequestConflict
from nnlite.catalog.model import canonical_json
from nnlite.ranking.question import parse_question
from nnlite.ranking.service import RankService
from nnlite.results.ranking import RankOptions
from nnlite.results.reading import CampaignError
from waiting import HANG_S, NEVER_S


@pytest.fixture
def service(cluster) -> RankService:
    return RankService(
        settings=cluster.settings, engine=cluster.engine, broker=cluster.broker, stopping=threading.Event()
    )


def question(**accuracies):
    models = [{"name": name, "code": net(name), "accuracy": value} for name, value in accuracies.items()]
    return parse_question(canonical_json({"models": models, "campaign": "g7", "pools": ["phones"]}))


def measure(cluster, model, median_ns):
    """Convert a model and measure it."""
    (row,) = cluster.rows(
        "SELECT v.id FROM conversion v JOIN model m ON m.id = v.model_id WHERE m.name LIKE :like",
        like=f"{model}-%",
    )
    (message,) = finish_conversion(cluster, row["id"])
    finish_benchmark(cluster, message.row_id, with_median(median_ns))


def ranks(ranking):
    """Return rank and Pareto membership by the name that was asked for."""
    (group,) = ranking["groups"]
    return {row["model"].partition("-")[0]: (row["rank"], row["pareto"]) for row in group["results"]}


def test_models_are_submitted_and_ranked_as_results_arrive(service, cluster):
    answer = service.rank_these(question(fast=0.5, good=0.9, bad=0.4))
    assert [each["name"] for each in answer["asked"]] == ["fast", "good", "bad"]
    assert (answer["campaign"], answer["ended"], answer["groups"]) == ("g7", False, [])
    assert answer["waiting"] == sorted(each["model"] for each in answer["asked"])
    assert any("nnlite worker convert" in obstacle for obstacle in answer["obstacles"])
    measure(cluster, "fast", 2_000_000)
    first = service.rank("g7")
    assert ranks(first) == {"fast": (1, True)}
    assert len(first["waiting"]) == 2
    measure(cluster, "good", 5_000_000)
    measure(cluster, "bad", 6_000_000)
    last = service.rank("g7", RankOptions(reference_ms=10))
    assert (last["ended"], last["waiting"], last["obstacles"]) == (True, [], [])
    assert ranks(last) == {"good": (1, True), "fast": (2, True), "bad": (3, False)}
    (group,) = last["groups"]
    assert (group["task"], group["dataset"], group["pool"]) == ("img-classification", "cifar-10", "phones")
    assert [row["hypervolume_contribution"] for row in group["results"]] == pytest.approx([0.2, 0.15, 0])


def test_the_same_question_again_submits_nothing_and_a_further_one_adds_models(service, cluster):
    service.rank_these(question(a=0.5))
    service.rank_these(question(a=0.5))
    assert service.rank_these(question(b=0.6))["models"] == 2
    assert len(cluster.rows("SELECT FROM conversion")) == 2


def test_an_accuracy_that_comes_later_is_taken(service, cluster):
    service.rank_these(question(a=None))
    measure(cluster, "a", 1_000_000)
    before = service.rank("g7")
    assert ranks(before) == {"a": (None, None)}
    after = service.rank_these(question(a=0.7))
    assert ranks(after) == {"a": (1, True)}
    assert after["version"] != before["version"]


def test_the_last_accuracy_stated_counts(service, cluster):
    service.rank_these(question(a=0.5))
    measure(cluster, "a", 1_000_000)
    for accuracy, expected in ((0.7, 0.7), (None, 0.7), (0.6, 0.6)):
        (group,) = service.rank_these(question(a=accuracy))["groups"]
        assert [row["accuracy"] for row in group["results"]] == [expected]


def test_one_that_waits_gets_the_ranking_when_a_result_arrives(service, cluster):
    seen = service.rank_these(question(a=0.5, b=0.6))["version"]
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(service.wait_for_rank, "g7", seen=seen, timeout_s=HANG_S)
        measure(cluster, "a", 1_000_000)
        assert waiting.result()["version"] != seen


def test_one_that_waits_for_the_end_gets_the_ranking_then(service, cluster):
    service.rank_these(question(a=0.5))
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(service.wait_for_rank, "g7", seen=None, timeout_s=HANG_S)
        measure(cluster, "a", 1_000_000)
        assert ranks(waiting.result()) == {"a": (1, True)}


def test_one_that_waits_gets_what_there_is_when_the_listener_stops(service):
    service.rank_these(question(a=0.5))
    service.stopping.set()
    assert not service.wait_for_rank("g7", seen=None, timeout_s=NEVER_S)["ended"]


def test_models_without_a_result_have_their_reason(service, cluster):
    body = {"models": [{"name": "a", "code": "class Net("}], "campaign": "g7"}
    answer = service.rank_these(parse_question(canonical_json(body)))
    (failed,) = answer["without_result"]
    assert (failed["state"], answer["ended"]) == ("skipped", True)
    assert failed["reason"] == answer["asked"][0]["skipped"]


def test_another_request_with_the_same_name_is_refused(service):
    service.rank_these(question(a=0.5))
    other = question(a=0.5).model_copy(update={"pools": ("host",)})
    with pytest.raises(RequestConflict, match="was submitted with --pool phones"):
        service.rank_these(other)


def test_an_unknown_campaign_is_said(service):
    with pytest.raises(CampaignError, match="no campaign is named 'g8'"):
        service.rank("g8")
    service.rank_these(question(a=0.5))
    with pytest.raises(CampaignError, match="no campaign is named 'g6'; the newest are g7"):
        service.rank("g7", RankOptions(against=("g6",)))
