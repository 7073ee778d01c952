"""Pause, resume, cancel and retry act on rows; messages follow."""

import pytest

from integration.conftest import Cluster
from nnlite.campaigns import control
from nnlite.campaigns.control import CampaignError
from nnlite.errors import Failure, FailureClass
from nnlite.queue import leases
from nnlite.settings.groups import QueueSettings
from nnlite.vocabulary import Stage, WorkState


def test_work_that_runs_when_its_campaign_is_paused_may_end(cluster: Cluster) -> None:
    row = cluster.conversion(cluster.submit("one", name="night").id)["id"]
    claim = cluster.claim(row)
    control.pause(cluster.engine, "night")
    leases.heartbeat(cluster.engine, claim, 30)
    leases.finish(cluster.engine, claim, lambda connection: [])
    assert cluster.rows("SELECT state FROM conversion") == [{"state": "done"}]


def test_resuming_sends_the_messages_that_a_pause_swallowed(cluster: Cluster) -> None:
    cluster.submit("one", "two", name="night")
    control.pause(cluster.engine, "night")
    cluster.empty_broker()
    assert control.resume(cluster.engine, cluster.broker, "night")
    assert cluster.ready() == 2


def test_a_cancelled_campaign_is_resumed_by_retry_only(cluster: Cluster) -> None:
    cluster.submit("one", "two", name="night")
    assert control.cancel(cluster.engine, "night") == 2
    assert control.cancel(cluster.engine, "night") == 0
    with pytest.raises(CampaignError, match="retry night --cancelled"):
        control.resume(cluster.engine, cluster.broker, "night")
    assert control.retry(cluster.engine, cluster.broker, "night", [WorkState.CANCELLED], ["two"]) == 1
    assert cluster.rows(
        "SELECT m.name, c.state FROM conversion c JOIN model m ON m.id = model_id ORDER BY 1"
    ) == [{"name": "one", "state": "cancelled"}, {"name": "two", "state": "queued"}]


def test_retry_starts_counting_anew_and_keeps_the_history(cluster: Cluster) -> None:
    row = cluster.conversion(cluster.submit("one", name="night").id)["id"]
    crash = Failure(FailureClass.CONVERTER, Stage.LOWER, "crashed")
    for _ in range(3):
        leases.fail(cluster.engine, cluster.claim(row), crash, QueueSettings())
    assert control.retry(cluster.engine, cluster.broker, "night", [WorkState.QUARANTINED]) == 1
    claim = cluster.claim(row)
    assert (claim.attempt, claim.counters.strikes) == (4, 0)


def test_an_unknown_campaign_raises_and_lists_existing_ones(cluster: Cluster) -> None:
    cluster.submit("one", name="night")
    with pytest.raises(CampaignError, match="no campaign is named 'nigth'; did you mean night"):
        control.pause(cluster.engine, "nigth")
