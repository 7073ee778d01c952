"""A command's own workers start when those of another command have ended."""

from unittest.mock import MagicMock

from conftest import embedded_settings
from nnlite.cli.actions.own_workers import MEASURING, OwnWorkers
from nnlite.cli.actions.session import Session
from nnlite.local import workers_lock


def test_own_workers_start_when_another_command_has_ended(bare_home, monkeypatch):
    supervisor = MagicMock()
    monkeypatch.setattr("nnlite.cli.actions.own_workers.Supervisor", supervisor)
    settings = embedded_settings(bare_home)
    cluster = Session(settings=settings, engine=MagicMock(), broker=MagicMock())
    with workers_lock(settings) as another:
        assert another()
        waiting = OwnWorkers(cluster, MEASURING)
        with waiting:
            waiting.check()
            assert (waiting.started, supervisor.call_count) == (False, 0)
    with OwnWorkers(cluster, MEASURING) as first:
        assert first.started
        with OwnWorkers(cluster, MEASURING) as second:
            assert not second.started
            first.__exit__()
            second.check()
            second.check()
            assert (second.started, supervisor.call_count) == (True, 2)
