"""Artifacts are checked once each with the phones' runtime, whatever happens to those who check.

More than 300 lines: all tests share the checker, its store and its toy runtime.
"""

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from android_app.runtime_match import checks
from android_app.test_runtime_match import too_new
from integration.canned import finish_benchmark, finish_conversion, stored_canary
from integration.conftest import Cluster, dead_owner, living_owner
from nnlite.artifacts.store import ArtifactStore
from nnlite.cli.presenting import watch as watching
from nnlite.host.cores import Cores
from nnlite.host.processes import start_ticks
from nnlite.host.tflite_environment import needed_environment
from nnlite.queue import leases
from nnlite.queue.leases import Claim, LeaseLostError
from nnlite.queue.messages import BrokerClient
from nnlite.queue.owner import Owner
from nnlite.reaper.reaper import Reaper
from nnlite.results import queries, runtime_checks
from nnlite.settings.groups import QueueSettings
from nnlite.vocabulary import QuietMode, WorkKind
from nnlite.worker.attempt import WorkerContext
from nnlite_benchmark.protocol import canary
from nnlite_benchmark.runtime_check.checker import Checker
from nnlite_benchmark.runtime_check.process import (
    ArtifactAnswer,
    RuntimeDiedError,
    RuntimeProcess,
    RuntimeUnusableError,
)
from waiting import HANG_S, end, wait_until

__all__ = ["too_new"]
CHECK = WorkKind.RUNTIME_CHECK
NODE = "check@here"
VERSION = "2.16.2"


class ToyRuntime:
    """Answers what the test wants."""

    def __init__(self) -> None:
        self.answer: ArtifactAnswer | BaseException = ArtifactAnswer(refusal="no")
        self.asked = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def run(self, _artifact: Path, _inputs: Any, _folder: Path, tick: Callable[[], bool]) -> ArtifactAnswer:
        self.asked += 1
        self.meanwhile()
        tick()
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def close(self) -> None:
        """Nothing to end."""


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "scratch")


@pytest.fixture
def runtime() -> ToyRuntime:
    return ToyRuntime()


@pytest.fixture
def checker(cluster: Cluster, store: ArtifactStore, runtime: ToyRuntime) -> Checker:
    stop = threading.Event()
    return Checker(
        context=context_of(cluster, stop),
        store=store,
        runtime=runtime,
        runtime_version=VERSION,
        cores=Cores(mode=QuietMode.PINNED_CORES, measuring=(0,), converting=(0,)),
        stop=stop,
    )


def context_of(cluster: Cluster, stop: threading.Event) -> WorkerContext:
    return WorkerContext(
        engine=cluster.engine,
        broker=BrokerClient("redis://127.0.0.1:1/0", 0.1),  # checks have no messages
        owner=living_owner(NODE),
        settings=cluster.settings,
        stopping=stop.is_set,
    )


@pytest.fixture
def add(cluster: Cluster, store: ArtifactStore) -> Callable[..., uuid.UUID]:
    """Convert a model: the canary is its artifact, unless another file or other columns are named."""

    def added(model: str, file: Path = canary.MODEL_FILE, **changes: Any) -> uuid.UUID:
        row = cluster.conversion(cluster.submit(model, name=model).id)["id"]
        finish_conversion(cluster, row, **(stored_canary(store, file) | changes))
        return row

    return added


def claim(
    cluster: Cluster, version: str = VERSION, owner: Owner | None = None, lease_s: float = 30
) -> Claim | None:
    """Claim the artifact that is checked next."""
    row = runtime_checks.next_check(cluster.engine, version)
    if row is None:
        return None
    owner = owner or living_owner(NODE)
    return leases.claim(cluster.engine, CHECK, row, owner, lease_s=lease_s, deadline_s=600)


def check_all(checker: Checker) -> int:
    """Check all artifacts that can be checked now; return how many attempts that took."""
    return sum(1 for _ in iter(checker.check_next, False))


def rows(cluster: Cluster) -> list[dict[str, Any]]:
    return cluster.rows("SELECT * FROM runtime_check ORDER BY created_at")


def test_artifacts_are_accepted_refused_or_different(cluster, checker, add, too_new, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_bytes(bytes(canary.EXPECTED_FILE.stat().st_size))
    add("right")
    add("new", too_new[0])
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(canary.MODEL_FILE.read_bytes() + b"\0" * 16)
    add("wrong", copy, reference_outputs=[checker.store.put(wrong, ".bin")])
    bounds = checks()
    settings = cluster.settings.model_copy(update={"runtime_check": bounds})
    checker.context = replace(checker.context, settings=settings)
    with RuntimeProcess(needed_environment(settings), tmp_path / "log", bounds) as runtime:
        checker.runtime = runtime
        assert check_all(checker) == 3

    found = {row["model"]: row for row in queries.runtime_checks(cluster.engine)}
    assert {model: row["runtime_check"] for model, row in found.items()} == {
        "right": "accepted",
        "new": "refused",
        "wrong": "different",
    }
    assert (found["new"]["operator"], found["new"]["operator_version"]) == ("RESIZE_BILINEAR", 99)
    assert "range of the expected output" in found["wrong"]["reason"]
    assert check_all(checker) == 0, "nothing is checked twice"


def test_equal_files_are_checked_once_and_every_version_of_the_runtime_checks_them(
    cluster, checker, runtime, add
):
    add("one")
    add("two", cache_key="another model with the very same file")
    assert check_all(checker) == runtime.asked == 1
    assert {row["model"] for row in queries.runtime_checks(cluster.engine)} == {"one", "two"}
    assert claim(cluster, "2.17.0") is not None
    assert len(rows(cluster)) == 2


def test_two_workers_never_check_the_same(cluster, add, tmp_path):
    for number in range(2):
        file = tmp_path / f"{number}.tflite"
        file.write_bytes(canary.MODEL_FILE.read_bytes() + bytes([number]))
        add(f"model-{number}", file)
    one = runtime_checks.next_check(cluster.engine, VERSION)
    assert runtime_checks.next_check(cluster.engine, VERSION) == one, "nobody has claimed it"
    first, second = claim(cluster), claim(cluster, owner=living_owner("check@there"))
    assert first.id == one != second.id
    assert leases.claim(cluster.engine, CHECK, one, living_owner(), lease_s=30, deadline_s=60) is None
    assert claim(cluster) is None


def test_an_artifact_that_crashes_the_runtime_is_quarantined_after_three_attempts(
    cluster, checker, runtime, add
):
    add("crasher")
    runtime.answer = RuntimeDiedError("the runtime was ended by SIGSEGV")
    assert check_all(checker) == 3
    (row,) = rows(cluster)
    assert (row["state"], row["strikes"], row["failure_class"], row["verdict"]) == (
        "quarantined", 3, "device", None,
    )  # fmt: skip
    (shown,) = queries.runtime_checks(cluster.engine)
    assert (shown["runtime_check"], shown["reason"]) == ("quarantined", "the runtime was ended by SIGSEGV")


def test_a_dead_worker_counts_as_a_loss_and_ten_losses_quarantine_the_check(cluster, checker, runtime, add):
    add("one")
    dead = dead_owner(NODE)
    claimed = claim(cluster, owner=dead)
    assert claim(cluster) is None, "it is leased"
    leases.requeue_of_node(cluster.engine, CHECK, living_owner("check@there"), QueueSettings())
    assert claim(cluster) is None, "it is another worker's"
    leases.requeue_of_node(cluster.engine, CHECK, living_owner(NODE), QueueSettings())
    again = claim(cluster, owner=dead)
    assert (again.attempt, again.counters.losses) == (claimed.attempt + 1, 1)
    with pytest.raises(LeaseLostError):
        leases.finish(cluster.engine, claimed, lambda _: [])
    with pytest.raises(LeaseLostError):
        leases.heartbeat(cluster.engine, claimed, 30)
    for _ in range(9):
        leases.requeue_of_node(cluster.engine, CHECK, living_owner(NODE), QueueSettings())
        claim(cluster, owner=dead)
    (row,) = rows(cluster)
    assert (row["state"], row["losses"], runtime.asked) == ("quarantined", 10, 0)


def test_the_reaper_gives_back_a_check_whose_lease_has_ended(cluster, checker, add):
    add("one")
    claim(cluster)
    cluster.change("UPDATE runtime_check SET lease_until = now() - interval '1 s'")
    reaper = Reaper(cluster.engine, cluster.broker, cluster.settings)
    for now_s in range(0, 40, 10):
        reaper.round(now_s)
    reaper.close()
    assert check_all(checker) == 1
    (row,) = rows(cluster)
    assert (row["state"], row["attempt"], row["losses"]) == ("done", 2, 1)
    assert [(attempt["outcome"], attempt["kind"]) for attempt in cluster.attempts(row["id"])] == [
        ("lost", "runtime_check"),
        ("done", "runtime_check"),
    ]


def test_a_check_that_lost_its_lease_writes_nothing(cluster, checker, runtime, add):
    add("one")
    runtime.meanwhile = lambda: cluster.change("UPDATE runtime_check SET attempt = attempt + 1")
    checker.check_next()
    (row,) = rows(cluster)
    assert (row["state"], row["verdict"]) == ("running", None)


def test_a_stopped_worker_releases_its_check(cluster, checker, runtime, add):
    add("one")
    runtime.meanwhile = checker.stop.set
    checker.check_next()
    (row,) = rows(cluster)
    assert (row["state"], row["strikes"], row["losses"]) == ("queued", 0, 0)
    assert claim(cluster) is not None


@pytest.mark.parametrize("away", ["the store", "the environment"])
def test_infrastructure_failures_pause_the_check_and_are_not_pending(cluster, checker, runtime, add, away):
    add("one")
    assert runtime_checks.pending(cluster.engine, "one", VERSION) == 1
    if away == "the store":
        (artifact,) = cluster.rows("SELECT path FROM artifact")
        checker.store.discard(artifact["path"])
    else:
        runtime.answer = RuntimeUnusableError("no TensorFlow")
    checker.check_next()
    (row,) = rows(cluster)
    assert (row["state"], row["failure_class"], row["strikes"]) == ("queued", "infrastructure", 0)
    assert runtime_checks.pending(cluster.engine, "one", VERSION) == 0
    assert claim(cluster) is None


def test_the_operator_version_is_read_from_the_file_if_the_runtime_does_not_name_it(
    cluster, checker, runtime, add
):
    add("one")
    refusal = (
        "weights->type != input->type (INT8 != FLOAT32)Node number 3 (TRANSPOSE_CONV) failed to prepare."
    )
    runtime.answer = ArtifactAnswer(refusal=refusal, operators={"CONV_2D": 1, "TRANSPOSE_CONV": 3})
    check_all(checker)
    (row,) = rows(cluster)
    assert (row["operator"], row["operator_version"]) == ("TRANSPOSE_CONV", 3)


def test_watching_checks_ends_after_the_last_one(cluster, checker, runtime, add, capsys):
    add("one")
    watching.watch_checks(cluster.engine, "one", VERSION, checker.check_next)
    assert runtime.asked == 1
    assert "one: 1 artifact to be tried with TensorFlow Lite 2.16.2" in capsys.readouterr().err


def test_measurements_show_the_result_of_the_check(cluster, checker, runtime, add):
    add("one")
    runtime.answer = ArtifactAnswer(refusal="Encountered unresolved custom op: Foo.")
    (benchmark,) = cluster.rows("SELECT id FROM benchmark")
    finish_benchmark(cluster, benchmark["id"])
    before, *_ = queries.latencies(cluster.engine)
    check_all(checker)
    after, *_ = queries.latencies(cluster.engine)
    shown = [(row["runtime_version"], row["runtime_check"], row["verdict"]) for row in (before, after)]
    assert shown == [(None, None, "valid"), (VERSION, "refused", "valid")]


#: An environment in which the first artifact hangs and the second is refused.
PYTHON = """#!/bin/sh
[ "$2" = -c ] && echo 2.16.99 && exit
exec {python} -c "
import os, pathlib, runpy, sys, time, types
note = pathlib.Path('{note}')
def interpreter(**_):
    if note.exists():
        raise ValueError('Encountered unresolved custom op: Foo.')
    note.with_suffix('.new').write_text(str(os.getpid()))
    note.with_suffix('.new').rename(note)
    time.sleep(3600)
sys.modules['tensorflow'] = types.SimpleNamespace(
    __version__='2.16.99', lite=types.SimpleNamespace(Interpreter=interpreter))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')" "$3" "$4"
"""


def test_a_killed_worker_leaves_no_process_and_its_successor_completes_the_check(cluster, add, tmp_path):
    note, python = tmp_path / "note", tmp_path / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON.format(python=sys.executable, note=note))
    python.chmod(0o755)
    add("one")
    environment = os.environ | {
        "NNLITE_HOME": str(tmp_path),
        "NNLITE_DATABASE_URL": cluster.settings.database_url,
        "NNLITE_BROKER_URL": cluster.settings.broker_url,
        "NNLITE_RUNTIME_CHECK__ENVIRONMENT": str(python.parents[1]),
        "NNLITE_RUNTIME_CHECK__POLL_S": "0.05",
    }

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "nnlite_benchmark.runtime_check", "--name", "check"]
        return subprocess.Popen(command, env=environment, cwd=tmp_path)

    worker = start()
    try:
        wait_until(note.exists, "the first check runs")
        worker.kill()
        worker.wait()
        wait_until(lambda: start_ticks(int(note.read_text())) is None, "what ran the artifact is gone too")
        worker = start()
        wait_until(lambda: rows(cluster)[0]["state"] == "done", "the check is made")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(HANG_S) == 0
    finally:
        end(worker)
    (row,) = rows(cluster)
    assert (row["verdict"], row["operator"], row["attempt"], row["losses"]) == ("refused", "Foo", 2, 1)
