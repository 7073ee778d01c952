"""What a conversion worker does with its fork server while it consumes."""

from collections import Counter
from unittest.mock import Mock, create_autospec

import pytest

from nnlite.worker.watchdog import WorkerLiveness
from nnlite_conversion import __main__ as module
from nnlite_conversion.isolation.fork_server import ForkServer

pytestmark = pytest.mark.fast


@pytest.fixture
def server(monkeypatch) -> Mock:
    monkeypatch.setattr(module, "stop_consuming", Mock())
    server = create_autospec(ForkServer, instance=True)
    server.has_failed.return_value = False
    return server


@pytest.mark.parametrize(
    ("received", "idle_s", "preloads"),
    [({}, 2.0, True), ({}, 0.0, False), ({"nnlite.convert": 1}, 60.0, False)],
    ids=["a worker without work", "one that starts", "one that had work, perhaps all from the cache"],
)
def test_a_worker_without_work_prepares_for_some(received, idle_s, preloads, server, monkeypatch):
    monkeypatch.setattr(module.state, "total_count", Counter(received))
    monkeypatch.setattr(WorkerLiveness, "idle_s", lambda _: idle_s)
    liveness = WorkerLiveness()

    module.prepare_or_stop(server, liveness, network=False)

    assert server.preload.called is preloads
    assert not liveness.stopping
    assert not module.stop_consuming.called


def test_a_worker_whose_fork_server_cannot_preload_stops(server):
    server.has_failed.return_value = True
    liveness = WorkerLiveness()

    module.prepare_or_stop(server, liveness, network=False)

    assert liveness.stopping
    assert module.stop_consuming.called
