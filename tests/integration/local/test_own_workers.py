"""A command's own workers start when those of another command have ended."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from conftest import embedded_settings
from nnlite.cli.actions.own_workers import MEASURING, OwnWorkers
from nnlite.cli.actions.session import Session
from nnlite.errors import NnliteError
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


def test_a_worker_that_does_not_stay_up_is_quoted(bare_home, monkeypatch):
    supervisor = MagicMock()
    supervisor.return_value.__enter__.return_value.status.return_value = [
        SimpleNamespace(name="convert", restarts=5, pid=None, exit_status=1)
    ]
    monkeypatch.setattr("nnlite.cli.actions.own_workers.Supervisor", supervisor)
    settings = embedded_settings(bare_home)
    log = settings.home / "logs" / "convert.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text('{"event": "this kernel holds no filter", "level": "error"}\n')
    cluster = Session(settings=settings, engine=MagicMock(), broker=MagicMock())

    with pytest.raises(
        NnliteError, match=r"does not stay up: this kernel holds no filter; its log is .*convert\.log"
    ):
        OwnWorkers(cluster, MEASURING).__enter__()
