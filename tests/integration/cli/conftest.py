"""The command as its user has it: an environment of settings, a small LEMUR, and what it says."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from integration.release.database import RECORDED, REVISION, load
from nnlite.cli import main
from nnlite.db.engine import engine_for, upgrade
from nnlite.host.runtimes import import_problem
from waiting import HANG_S, end

#: Whether a runtime can be imported is tried once for all tests: each try takes a second.
_import_problem = cache(import_problem)


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        assert self.code == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_lemur: Path) -> pytest.MonkeyPatch:
    """An environment in which only a home and a LEMUR are set, and a working folder without `.env`."""
    for name in os.environ:
        if name.startswith("NNLITE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NNLITE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NNLITE_LEMUR", str(small_lemur))
    monkeypatch.setenv("NNLITE_USER", "Anna")
    monkeypatch.setenv("NNLITE_BROKER_TIMEOUT_S", f"{HANG_S}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nnlite.diagnostics.machine.import_problem", _import_problem)
    return monkeypatch


@pytest.fixture
def servers(environment: pytest.MonkeyPatch, database_url: str, broker_url: str) -> None:
    """Settings that name servers of the user's own: migrated, empty."""
    environment.setenv("NNLITE_DATABASE_URL", database_url)
    environment.setenv("NNLITE_BROKER_URL", broker_url)


@pytest.fixture
def nnlite(
    environment: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Said]]:
    """Run the command in this process: `nnlite("status", "--json")`."""

    def run(*arguments: str) -> Said:
        environment.setattr(sys, "argv", ["nnlite", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    yield run


@pytest.fixture
def start(environment: pytest.MonkeyPatch) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command as a process of its own; one that still runs after the test is killed."""
    started = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "nnlite.cli", *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield run
    for process in started:
        end(process)


@pytest.fixture(scope="module")
def recorded_database(make_database: Callable[..., str]) -> str:
    """The recorded database, brought to this release."""
    url = make_database(migrated=False)
    upgrade(url, REVISION)
    engine = engine_for(url)
    load(engine, (RECORDED / "database.sql").read_text())
    engine.dispose()
    upgrade(url)
    return url


@pytest.fixture
def released(environment: pytest.MonkeyPatch, recorded_database: str, broker_url: str) -> None:
    """Settings that name the recorded database."""
    environment.setenv("NNLITE_DATABASE_URL", recorded_database)
    environment.setenv("NNLITE_BROKER_URL", broker_url)
    environment.setenv("PGTZ", "UTC")  # times are shown in the session's time zone
