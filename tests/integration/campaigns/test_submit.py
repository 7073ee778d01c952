"""Submitting: everything or nothing, once, and safe from servers that are away."""

import re

import pytest

from integration.conftest import Cluster
from nnlite.campaigns.request import RequestError
from nnlite.db.engine import DatabaseError, engine_for
from nnlite.queue.messages import BrokerClient


def test_one_conversion_and_one_message_per_model(cluster: Cluster) -> None:
    submitted = cluster.submit("a", "b", "c")
    assert (submitted.models, submitted.resumed, submitted.sent) == (3, False, True)
    assert cluster.rows("SELECT count(*) AS n FROM conversion WHERE state = 'queued'") == [{"n": 3}]
    assert cluster.ready() == 3


def test_the_same_request_under_the_same_name_resumes(cluster: Cluster) -> None:
    first = cluster.submit("a", "b", name="night")
    again = cluster.submit("a", "b", name="night")
    assert (again.id, again.resumed) == (first.id, True)
    assert cluster.ready() == 2
    assert cluster.rows("SELECT count(*) AS n FROM conversion") == [{"n": 2}]


def test_another_request_under_the_same_name_is_refused_with_the_difference(cluster: Cluster) -> None:
    cluster.submit("a", name="night", limit=1)
    with pytest.raises(RequestError, match=re.escape("submitted with limit=1, now limit is 2")):
        cluster.submit("a", name="night", limit=2)


def test_a_skipped_model_has_a_row_with_a_reason_and_no_message(cluster: Cluster) -> None:
    cluster.toys.add("huge", skipped="input 1024 x 1024 is above 512")
    submitted = cluster.submit("huge", "small")
    assert (submitted.skipped, cluster.ready()) == (1, 1)
    assert cluster.rows("SELECT reason FROM conversion WHERE state = 'skipped'") == [
        {"reason": "input 1024 x 1024 is above 512"}
    ]


def test_without_the_broker_the_campaign_is_submitted_unsent(cluster: Cluster) -> None:
    cluster.broker = BrokerClient("redis://127.0.0.1:1/0", 0.2)
    assert not cluster.submit("a").sent
    assert cluster.rows("SELECT state FROM conversion") == [{"state": "queued"}]


def test_without_the_database_nothing_is_submitted(cluster: Cluster) -> None:
    there, cluster.engine = cluster.engine, engine_for("postgresql://nobody@127.0.0.1:1/none", 1)
    with pytest.raises(DatabaseError, match=r"nothing was submitted.*127\.0\.0\.1:1/none"):
        cluster.submit("a")
    cluster.engine = there
    assert (cluster.ready(), cluster.rows("SELECT * FROM campaign")) == (0, [])


def test_code_that_cannot_be_read_submits_nothing(cluster: Cluster) -> None:
    model = cluster.toys.add("gone")
    del cluster.toys.codes[model.code_sha256]
    with pytest.raises(KeyError):
        cluster.submit("here", "gone")
    assert (cluster.ready(), cluster.rows("SELECT * FROM campaign")) == (0, [])


def test_a_priority_is_within_bounds(cluster: Cluster) -> None:
    with pytest.raises(RequestError, match="priority 12 is not within 0-9"):
        cluster.submit("a", priority=12)


def test_a_request_without_models_is_refused(cluster: Cluster) -> None:
    with pytest.raises(RequestError, match="no model matches"):
        cluster.submit()
