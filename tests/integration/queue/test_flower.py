"""Flower behind its password: what it shows of workers and tasks."""

import base64
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nnlite.local import Endpoints
from nnlite.queue.messages import BrokerClient, Message
from nnlite.vocabulary import WorkKind
from waiting import HANG_S, end, wait_until

PASSWORD = "correct horse"
NODE = "benchmark-avd:pixel4-1@here"
QUEUE = "benchmark.pixel4-api30"
PROGRAMS = Path(__file__).parent / "programs"


class Site:
    """Flower over HTTP."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stderr is not None
        lines = (json.loads(line) for line in process.stderr)
        self.url = next(line["url"] for line in lines if line["event"] == "ready")

    def get(self, path: str, password: str | None = PASSWORD, data: bytes | None = None) -> tuple[int, str]:
        request = urllib.request.Request(self.url + path, data=data)
        if password is not None:
            login = base64.b64encode(f"nnlite:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {login}")
        try:
            with urllib.request.urlopen(request, timeout=HANG_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with closing(refused):
                return refused.code, refused.read().decode()

    def shows(self, path: str, wanted: Callable[[Any], bool]) -> Any:
        """Return what is at `path` once it is as wanted."""
        found: Any = None

        def is_wanted() -> bool:
            nonlocal found
            found = json.loads(self.get(path)[1])
            return wanted(found)

        wait_until(is_wanted, f"{path} is as wanted", lambda: found)
        return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started = []

    def run(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        log = subprocess.PIPE if environment else subprocess.DEVNULL
        started.append(
            subprocess.Popen(
                [sys.executable, *arguments],
                stderr=log,
                text=True,
                cwd=tmp_path,
                env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **environment},
            )
        )
        return started[-1]

    yield run
    for process in started:
        end(process)


@pytest.fixture
def flower(start, embedded: Endpoints, broker_url: str, tmp_path: Path) -> Callable[..., Any]:
    """Start Flower with the password, and options."""
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    servers = {"NNLITE_DATABASE_URL": embedded.database_url, "NNLITE_BROKER_URL": broker_url}
    program = ["-m", "nnlite.cli", "flower", "--password-file", "password"]
    return lambda *options: start(*program, *options, **servers)


def test_flower_shows_tasks_with_model_and_device_behind_a_password(
    start, flower, database_url, broker_url, tmp_path
):
    site = Site(flower("--port", "0", "--state", "state/flower"))
    second = flower("--port", site.url.rpartition(":")[2])
    for path in ("/", "/tasks", "/broker", "/api/tasks", "/workers?json=1"):
        assert site.get(path, password=None)[0] == site.get(path, password="correct")[0] == 401, path
        assert site.get(path)[0] == 200, path
    start(str(PROGRAMS / "rowless_worker.py"), database_url, broker_url, NODE, QUEUE)
    site.shows("/workers?json=1", lambda found: any(row["hostname"] == NODE for row in found["data"]))
    row = uuid.uuid4()
    with closing(BrokerClient(broker_url, 5)) as broker:
        wait_until(lambda: broker.served_queues() == {QUEUE}, "the queues of workers are known")
        label = ("MobileNetV3", "pixel4-api30")
        broker.send(
            [Message(kind=WorkKind.BENCHMARK, row_id=row, display_args=label, queue=QUEUE, priority=5)]
        )
    tasks = site.shows("/api/tasks", lambda found: any(t["state"] == "SUCCESS" for t in found.values()))
    (task,) = tasks.values()
    assert (task["name"], task["worker"], task["args"]) == ("nnlite.benchmark", NODE, f"['{row}']")
    assert task["kwargs"] == "{'model': 'MobileNetV3', 'pool': 'pixel4-api30', 'device': 'avd:pixel4-1'}"
    assert task["result"] == "'nothing'"

    _, said = second.communicate(timeout=HANG_S)
    assert (second.returncode, said.count("\n")) == (1, 1)
    assert "Address already in use; choose --address and --port" in said
    assert site.get(f"/api/worker/shutdown/{NODE}", data=b"")[0] == 403, "to look, not to touch"
    said = Path(f"/proc/{site.process.pid}/cmdline").read_text()
    assert PASSWORD not in said + Path(f"/proc/{site.process.pid}/environ").read_text()
    site.process.send_signal(signal.SIGTERM)
    assert site.process.wait(HANG_S) == 0
    assert list((tmp_path / "state").glob("flower*")), "what it has seen is kept"
