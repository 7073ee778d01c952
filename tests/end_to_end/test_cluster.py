"""Workers started one by one, as on a server; what dies is taken up by the others."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from end_to_end.conftest import REAL, Machine, Started

#: Its conversion runs until something ends it.
ENDLESS = "Sleeper"


@pytest.fixture
def cluster(machine: Machine) -> Iterator[Machine]:
    """A machine with two submitted campaigns; the reaper holds the servers."""
    reaper = machine.start("reaper")
    machine.wait_for("the servers run", lambda: machine.progress() is not None)
    assert machine.run("submit", ENDLESS, "--name", "endless", "--priority", "9").returncode == 0
    assert machine.run("submit", REAL[1], "--name", "night").returncode == 0
    yield machine
    stop(reaper)


def stop(*workers: Started) -> None:
    for worker in workers:
        worker.signal(signal.SIGTERM)
    assert [worker.wait().returncode for worker in workers] == [0] * len(workers)


def running_conversion(machine: Machine) -> dict[str, Any]:
    """Wait for a conversion whose process is alive; the registry may still list one that was killed."""

    def alive() -> list[dict[str, Any]]:
        return [child for child in machine.children() if psutil.pid_exists(child["group"])]

    return machine.wait_for("a conversion runs", alive)[0]


def measured(machine: Machine, campaign: str) -> bool:
    (progress,) = [progress for progress in machine.progress() if progress.name == campaign]
    return progress.ended and progress.measured == progress.models


def test_killed_and_stopped_workers_leave_no_orphan_and_lose_no_work(cluster: Machine) -> None:
    worker = cluster.start("worker", "convert", "--concurrency", "1")
    first = running_conversion(cluster)
    os.kill(first["worker"], signal.SIGKILL)
    cluster.wait_for(
        "the conversion ends with its pool process", lambda: not psutil.pid_exists(first["group"])
    )
    second = running_conversion(cluster)
    assert second["worker"] != first["worker"], "another pool process takes the row up"

    worker.kill()
    cluster.wait_for("the conversion ends with its worker", lambda: not psutil.pid_exists(second["group"]))

    workers = [cluster.start("worker", "convert", "--concurrency", "1"), cluster.start("worker", "benchmark")]
    third = running_conversion(cluster)
    assert cluster.run("cancel", "endless").returncode == 0
    cluster.wait_for("the cancelled conversion ends", lambda: not psutil.pid_exists(third["group"]))
    cluster.wait_for("the other campaign ends", lambda: measured(cluster, "night"))

    assert cluster.run("submit", ENDLESS, "--name", "endless again").returncode == 0
    fourth = running_conversion(cluster)
    stop(*workers)
    assert not psutil.pid_exists(fourth["group"])
    outcomes = "SELECT outcome FROM attempt WHERE kind = 'conversion' ORDER BY id"
    assert cluster.sql(outcomes) == ["lost", "lost", "cancelled", "done", "released"]
