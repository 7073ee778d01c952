"""Processes and the schema: they wait for their own version's, and end when it is changed below them."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.conftest import Cluster, living_owner
from nnlite.errors import Stopped
from nnlite.reaper.reaper import Reaper
from nnlite.vocabulary import WorkKind
from nnlite.worker import schema_guard
from nnlite.worker.attempt import WorkerContext, run_attempt
from nnlite.worker.schema_guard import SchemaChangedError, SchemaGuard, await_schema
from waiting import HANG_S, wait_until


@pytest.fixture(autouse=True)
def looks_often(monkeypatch) -> None:
    monkeypatch.setattr(schema_guard, "TOUCH_EVERY_S", 0.01)


@pytest.fixture
def terminated() -> Iterator[list[int]]:
    """SIGTERMs that this process was sent."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    yield received
    signal.signal(signal.SIGTERM, before)


def set_version(cluster: Cluster, version: str) -> str:
    """Make the database one of another version; return the one that it had."""
    (row,) = cluster.rows("SELECT version_num FROM alembic_version")
    cluster.change("UPDATE alembic_version SET version_num = :version", version=version)
    return str(row["version_num"])


def test_a_process_waits_for_its_schema_says_so_and_counts_as_healthy(cluster, tmp_path: Path) -> None:
    version = set_version(cluster, "9999")
    health_file = tmp_path / "health"
    waiting = threading.Thread(target=await_schema, args=(cluster.engine, health_file))
    waiting.start()

    wait_until(health_file.exists, "the process waits")
    set_version(cluster, version)
    waiting.join(HANG_S)

    assert not waiting.is_alive()


def test_a_process_that_waits_can_be_stopped(cluster) -> None:
    set_version(cluster, "9999")

    with pytest.raises(Stopped, match="waiting for the schema"):
        await_schema(cluster.engine, stopping=lambda: True)


def test_a_worker_whose_schema_was_changed_claims_nothing_and_ends(cluster, terminated) -> None:
    campaign = cluster.submit("tiny").id
    context = WorkerContext(
        engine=cluster.engine,
        broker=cluster.broker,
        owner=living_owner(),
        settings=cluster.settings,
        guard=SchemaGuard(engine=cluster.engine, main_pid=os.getpid()),
        stopping=lambda: False,
    )
    set_version(cluster, "9999")
    row = cluster.conversion(campaign)["id"]

    with pytest.raises(SchemaChangedError, match="has schema 9999"):
        run_attempt(context, WorkKind.CONVERSION, row, lambda _: pytest.fail("worked"), HANG_S)

    assert terminated == [signal.SIGTERM]
    assert cluster.conversion(campaign)["state"] == "queued"


def test_a_reaper_whose_schema_was_changed_ends(cluster) -> None:
    set_version(cluster, "9999")

    Reaper(cluster.engine, cluster.broker, cluster.settings).run(threading.Event())
