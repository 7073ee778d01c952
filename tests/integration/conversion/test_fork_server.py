"""Conversions forked by the fork server: no password in their memory; they end with who asked for them."""

import copy
import json
import os
import re
import select
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.conversion.models import DOUBLING, network
from nnlite.errors import Failure, FailureClass, NnliteError
from nnlite.vocabulary import Precision
from nnlite_conversion.isolation import fork_server
from nnlite_conversion.isolation.child import Isolation
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.isolation.fork_server import ForkServer
from waiting import HANG_S

#: Reads all memory of its process that can be written to, and prints the passwords in it.
SEARCH = """
    import json, re
    found = set()
    memory = open("/proc/self/mem", "rb", 0)
    for line in open("/proc/self/maps"):
        span, rights, *_ = line.split()
        begin, end = (int(number, 16) for number in span.split("-"))
        if rights.startswith("rw"):
            for place in range(begin, end, 1 << 24):
                try:
                    memory.seek(place)
                    block = memory.read(min(1 << 24, end - place))
                except OSError:
                    continue
                found |= set(re.findall(rb"swordfish" rb"-[0-9a-f]{32}", block))
    print(json.dumps(sorted(word.decode() for word in found)))
    raise SystemExit
"""


@pytest.fixture
def server() -> Iterator[ForkServer]:
    with ForkServer() as server:
        server.preload(network=False)
        assert server.has_preloaded(wait_s=HANG_S)
        yield server


def found_in_memory(job, settings, place, fork) -> list[str]:
    with (
        pytest.raises(Failure) as failure,
        convert(
            job(network("return x", top=SEARCH)), settings, workdir=place, tick=lambda _: True, fork=fork
        ),
    ):
        pass
    return json.loads(failure.value.details["stderr_tail"].splitlines()[0])


def sleeping(messages_fd: int) -> None:
    """Body of a child that does not end by itself."""
    os.write(messages_fd, b"here")
    select.select([], [], [])


@pytest.fixture
def outputs(tmp_path: Path) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
    """Where a child's first message arrives, and the descriptors of a tree."""
    reading, writing = os.pipe()
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    yield reading, (log, log, writing, writing)
    for number in (reading, writing, log):
        os.close(number)


def test_models_find_no_password_of_the_worker_in_their_memory(job, settings, place, server):
    password = (
        f"swordfish-{uuid.uuid4().hex}"  # as settings have it, which are read after the server is forked
    )

    assert found_in_memory(job, settings, place, fork=None) == [password], "a fork has its parent's memory"
    assert found_in_memory(job, settings, place, server.fork) == []


def test_conversions_go_on_one_after_another_and_leave_no_process(job, settings, place, server):
    for _ in range(2):
        with convert(
            job(DOUBLING), settings, workdir=place, tick=lambda _: True, fork=server.fork
        ) as outcome:
            assert [artifact.precision for artifact in outcome.artifacts] == [Precision.FP32]
    children = Path(f"/proc/{server._pid}/task/{server._pid}/children").read_text()
    assert children == ""


def cannot(*, network: bool) -> None:
    raise NnliteError("no module named torch; install nnlite[convert]")


def ends(*, network: bool) -> None:
    os._exit(1)


@pytest.mark.parametrize(
    ("preload", "reason"),
    [
        (cannot, "no module named torch; install nnlite[convert]"),
        (ends, "the process that imports PyTorch ended; its log says why"),
    ],
)
def test_a_server_that_cannot_convert_says_why(preload, reason, monkeypatch):
    monkeypatch.setattr(fork_server, "preload", preload)
    with ForkServer() as server:
        assert not server.has_preloaded()
        assert not server.has_failed()
        server.check()
        server.preload(network=False)

        assert not server.has_preloaded(wait_s=HANG_S), "it has ended"
        assert server.has_failed()
        with pytest.raises(NnliteError, match=re.escape(reason)):
            server.check()


def test_a_server_imports_once_however_often_it_is_asked(monkeypatch, outputs, tmp_path):
    reading, descriptors = outputs
    imports = tmp_path / "imports"
    imports.write_text("")
    monkeypatch.setattr(fork_server, "preload", lambda *, network: imports.open("a").write("once "))
    with ForkServer() as server:
        for asking in (server, copy.copy(server)):  # as another process of the worker has it
            asking.preload(network=False)
            asking.preload(network=False)
        assert server.has_preloaded(wait_s=HANG_S)
        isolation = Isolation(uid=None, network=False, network_filter=True, scratch=tmp_path)
        tree = server.fork(sleeping, isolation, descriptors)
        assert os.read(reading, 4) == b"here", "it answers after the second request"
        tree.reap()
    assert imports.read_text() == "once "


def test_a_server_of_many_conversions_is_in_huge_pages(monkeypatch, outputs, tmp_path):
    forks = tmp_path / "forks"
    reading, descriptors = outputs
    isolation = Isolation(uid=None, network=False, network_filter=True, scratch=tmp_path)
    monkeypatch.setattr(fork_server, "preload", lambda *, network: None)
    monkeypatch.setattr(fork_server, "into_huge_pages", lambda: forks.open("a").write("once "))
    monkeypatch.setattr(fork_server, "_FORKS_IN_SMALL_PAGES", 2)
    seen = []
    with ForkServer() as server:
        server.preload(network=False)
        for _ in range(3):
            tree = server.fork(sleeping, isolation, descriptors)
            assert os.read(reading, 4) == b"here"
            seen.append(forks.read_text() if forks.exists() else "")
            tree.reap()
    assert (seen[0], seen[2]) == ("", "once ")


def test_a_tree_ends_with_the_conversation_that_asked_for_it(server, outputs, tmp_path):
    reading, descriptors = outputs
    isolation = Isolation(uid=None, network=False, network_filter=True, scratch=tmp_path)
    first, second = (server.fork(sleeping, isolation, descriptors) for _ in range(2))
    assert os.read(reading, 4) == b"here"

    first.reap()

    assert select.select([first.supervisor_fd], [], [], HANG_S)[0], "ended"
    assert not select.select([second.supervisor_fd], [], [], 0)[0], "the other one goes on"
    second.reap()


def test_trees_end_with_the_server_and_the_worker_is_stopped_at_the_next_conversion(outputs, tmp_path):
    _, descriptors = outputs
    isolation = Isolation(uid=None, network=False, network_filter=True, scratch=tmp_path)
    stopped = []
    before = signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    try:
        with ForkServer() as server:
            server.preload(network=False)
            assert server.has_preloaded(wait_s=HANG_S)
            tree = server.fork(sleeping, isolation, descriptors)
        assert select.select([tree.supervisor_fd], [], [], HANG_S)[0]

        tree.reap()
        with pytest.raises(Failure) as failure:
            server.fork(sleeping, isolation, descriptors)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert failure.value.failure_class is FailureClass.INFRASTRUCTURE
    assert stopped == [signal.SIGTERM]
