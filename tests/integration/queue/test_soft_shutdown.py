"""A stopping worker waits for its own running rows, and no longer."""

import threading
import uuid

import pytest

from integration.conftest import Cluster, living_owner
from nnlite.errors import Failure, FailureClass
from nnlite.queue import leases
from nnlite.settings.groups import QueueSettings
from nnlite.vocabulary import Stage, WorkKind
from nnlite.worker import soft_shutdown
from waiting import HANG_S, NEVER_S

NODE = "convert@here"


@pytest.fixture
def row(cluster: Cluster) -> uuid.UUID:
    return cluster.conversion(cluster.submit("one").id)["id"]


def wait(cluster: Cluster, timeout_s: float = NEVER_S) -> None:
    url = cluster.engine.url.render_as_string(hide_password=False)
    soft_shutdown.wait_until_given_back(url, WorkKind.CONVERSION, NODE, timeout_s)


def test_it_ends_when_the_row_is_given_back(cluster: Cluster, row: uuid.UUID) -> None:
    claim = cluster.claim(row, living_owner(NODE))
    waiting = threading.Thread(target=wait, args=(cluster,), daemon=True)
    waiting.start()
    waiting.join(4 * soft_shutdown._POLL_S)
    assert waiting.is_alive()
    released = Failure(FailureClass.RELEASED, Stage.EXPORT, "the worker stopped gracefully")
    leases.fail(cluster.engine, claim, released, QueueSettings())
    waiting.join(HANG_S)
    assert not waiting.is_alive()


def test_rows_of_other_workers_are_not_waited_for(cluster: Cluster, row: uuid.UUID) -> None:
    assert cluster.claim(row, living_owner("convert@there"))
    wait(cluster)


def test_it_ends_at_its_limit_with_rows_that_run_on(cluster: Cluster, row: uuid.UUID) -> None:
    assert cluster.claim(row, living_owner(NODE))
    wait(cluster, timeout_s=0.3)


def test_without_postgres_it_waits_to_its_limit(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(soft_shutdown.time, "sleep", slept.append)
    soft_shutdown.wait_until_given_back("postgresql://127.0.0.1:1/none", WorkKind.CONVERSION, NODE, 60)
    assert 50 < sum(slept) <= 61
