"""Workers started one by one, as on a server; what dies is taken up by the others."""

import os
import signal

import psutil
import pytest

from end_to_end.conftest import REAL, Machine, Started


@pytest.fixture
def cluster(machine: Machine) -> Machine:
    """A machine with a submitted campaign; workers hold the servers, this test the first of them."""
    reaper = machine.start("reaper")
    machine.wait_for("the servers run", lambda: machine.progress() is not None)
    assert machine.run("submit", *REAL, "--name", "night").returncode == 0
    yield machine
    reaper.signal(signal.SIGTERM)
    reaper.wait()


def stop(*workers: Started) -> None:
    for worker in workers:
        worker.signal(signal.SIGTERM)
    for worker in workers:
        worker.wait()


def measured(machine: Machine) -> bool:
    (progress,) = machine.progress()
    return progress.ended and progress.measured == len(REAL)


def test_a_worker_that_was_killed_leaves_no_orphan_and_its_successor_goes_on(cluster: Machine) -> None:
    first = cluster.start("worker", "convert", "--concurrency", "2")
    (note, *_) = cluster.wait_for("a conversion runs", cluster.children)
    first.kill()
    cluster.wait_for("the conversion ends with it", lambda: not psutil.pid_exists(note["group"]))
    second = cluster.start("worker", "convert", "--concurrency", "2")
    benchmark = cluster.start("worker", "benchmark")
    cluster.wait_for("the campaign ends", lambda: measured(cluster))
    stop(second, benchmark)


def test_a_pool_process_that_was_killed_is_replaced_and_its_row_taken_up_at_once(cluster: Machine) -> None:
    convert = cluster.start("worker", "convert", "--concurrency", "1")
    (note, *_) = cluster.wait_for("a conversion runs", cluster.children)
    os.kill(note["worker"], signal.SIGKILL)
    cluster.wait_for("the conversion ends with it", lambda: not psutil.pid_exists(note["group"]))
    benchmark = cluster.start("worker", "benchmark")
    cluster.wait_for("the campaign ends", lambda: measured(cluster))
    stop(convert, benchmark)


def test_an_orderly_stop_gives_the_work_back_as_released(cluster: Machine) -> None:
    # First of all one whose conversion goes on until the stop.
    assert cluster.run("submit", "Sleeper", "--name", "endless", "--priority", "9").returncode == 0
    convert = cluster.start("worker", "convert", "--concurrency", "1")
    cluster.wait_for("a conversion runs", cluster.children)
    stop(convert)
    assert convert.process.returncode == 0
    states = [(progress.converting, progress.conversions_queued) for progress in cluster.progress()]
    assert sorted(states) == [(0, 1), (0, 3)]
    assert cluster.sql("SELECT outcome FROM attempt") == ["released"]
