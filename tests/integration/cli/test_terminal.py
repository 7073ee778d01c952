"""What commands show in a terminal of 80 columns and 24 lines, of a database with fixed content.

Every command has its screen here; what depends on the machine has a stand-in in `stand_ins.py`. A change that
is wanted is recorded with `NNLITE_RECORD=1`; then the difference is in the commit.
"""

import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import typer

from integration.cli import stand_ins
from nnlite.cli import command_line
from nnlite.cli.presenting import output, presentation

#: Before the environment of the tests is emptied.
RECORD = bool(os.environ.get("NNLITE_RECORD"))
SCREENS = Path(__file__).parent / "recorded"

COMMANDS = {
    "status": ["status"],
    "results": ["results"],
    "results-campaign": ["results", "done"],
    "results-sorted": ["results", "--verdict", "valid,noisy", "--sort", "-median", "--top", "3"],
    "results-columns": ["results", "done", "--columns", "model,median,verdict,run", "--precision", "int8"],
    "results-wide": ["results", "generation", "--wide"],
    "failures": ["failures"],
    "profile": ["profile"],
    "effects": ["effects", "--every"],
    "rank": ["rank", "done", "--verdict", "valid,noisy"],
    "incidents": ["devices", "incidents"],
    "devices": ["devices"],
    "models": ["models"],
    "describe": ["describe", "generation"],
    "describe-toml": ["describe", "generation", "--toml"],
    "dry-run": ["submit", "--match", "ga-*", "Talker", "--precision", "fp32,int8", "--dry-run"],
    "dry-run-resumed": ["run", "--limit", "2", "--seed", "1", "--converters", "3", "--dry-run"],
    "delete-active": ["delete", "running", "--yes"],
    "delete-unasked": ["delete", "done"],
    "gc-unasked": ["gc"],
    "rename-taken": ["rename", "done", "running"],
    "rename-unprintable": ["rename", "done", "a\x1b[31m\nb"],
    "retry-cancelled": ["retry", "cancelled", "--failed"],
    "models-sample": ["models", "--limit", "2", "--seed", "1"],
    "watch-ended": ["watch", "done"],
    "verify": ["verify", "generation"],
    "submit-everything": ["submit", "--name", "everything"],
    "submit-npu": ["submit", "ga-1", "--backend", "npu,cpu"],
    "submit-conflict": ["submit", "ga-1", "--name", "done"],
    "export-unknown": ["export", "lemur", "out", "--campaign", "nigth"],
    "release-unknown": ["devices", "release", "usb:none"],
    "profile-unknown": ["profile", "--model", "Nobody"],
    "doctor": ["doctor"],
    "sustained": ["sustained"],
    "atlas": ["atlas"],
    "atlas-cases": ["atlas", "--cases", "--state", "refused"],
    "fetch": ["fetch"],
    "preflight": ["preflight", "ga-1"],
    "explain-parity": ["explain-parity", "ga-1", "--precision", "int8"],
    "reproduce": ["reproduce", "UNet2D"],
    "reproduce-unknown": ["reproduce", "Nobody"],
    "export-lemur": ["export", "lemur", "lemur"],
    "export-lemur-hosts": ["export", "lemur", "lemur", "--pool", "host"],
    "models-unknown": ["models", "DarkNat"],
    "models-nothing": ["models", "zz-*"],
    "results-nothing": ["results", "--model", "mobile*"],
    "results-unknown": ["results", "--model", "UNet2d"],
    "export-nngpt": ["export", "nngpt", "edge"],
    "export-model-explorer": ["export", "model-explorer", "overlays"],
    "export-litert-board": ["export", "litert-board", "board.json"],
    "up": ["up"],
    "down": ["down"],
    "ps": ["ps"],
    "logs": ["logs", "convert", "-n", "2"],
    "worker-convert": ["worker", "convert", "--concurrency", "0"],
    "worker-check": ["worker", "check"],
    "reaper": ["reaper", "now"],
    "flower": ["flower"],
    "serve": ["serve", "--token-file", "/nowhere/token"],
    "db-upgrade": ["db", "upgrade"],
    "db-url": ["db", "url"],
    "db-psql": ["db", "psql", "-c", "SELECT name, state, models FROM campaign_progress ORDER BY name"],
    "db-backup": ["db", "backup", "/nowhere/backups"],
    "db-restore": ["db", "restore", "night.dump"],
    "check": [
        "check",
        "--secret",
        "LAB_REDIS_PASSWORD=/nowhere/secret",
        "--profiles",
        "emulators",
        "--known-profiles",
        "emulator,phone",
    ],
    "worker-usage": ["worker", "benchmark", "--device", "phone"],
    "unknown-campaign": ["results", "nigt"],
    "unknown-column": ["results", "--sort", "speed"],
}


class FixedClock(datetime):
    """A clock that stands still after everything in the database."""

    @classmethod
    def now(cls, tz=None):
        return datetime(2026, 12, 1, tzinfo=tz)


#: From the first command about a campaign to the last one.
LIFE = (
    ["status"],
    ["submit", "ga-1", "Talker", "--name", "night"],
    ["status"],
    ["pause", "night"],
    ["status", "night"],
    ["resume", "night"],
    ["cancel", "night"],
    ["submit", "ga-1", "Talker", "--name", "night"],
    ["retry", "night"],
    ["retry", "night", "--cancelled"],
    ["describe", "night"],
    ["failures", "night"],
    ["results", "night"],
    ["delete", "night", "--yes"],
    ["cancel", "night"],
    ["rename", "night", "a\x1b[31m\nb"],
    ["delete", "night", "--yes"],
)
#: Of a home in which nothing is yet.
EMPTY = (
    ["status"], ["results"], ["failures"], ["profile"], ["sustained"], ["devices"],
    ["devices", "incidents"], ["ps"], ["logs"], ["describe", "night"], ["results", "night"],
)  # fmt: skip


@pytest.fixture
def screen(monkeypatch, nnlite):
    """Run a command as in a terminal; what it prints to stdout and stderr, one after the other."""
    monkeypatch.setenv("PAGER", "")
    monkeypatch.setattr(presentation, "datetime", FixedClock)
    without_run = stand_ins.place(monkeypatch)

    def run(*arguments: str) -> str:
        for console in (output.out, output.err):
            monkeypatch.setattr(console, "_force_terminal", True)
            monkeypatch.setattr(console, "no_color", True)
            monkeypatch.setattr(console, "_color_system", None)
            monkeypatch.setattr(console, "_width", 80)
            monkeypatch.setattr(console, "_height", 24)
        said = nnlite(*arguments)
        shown = f"{said.out}{'-' * 80}\n{said.err}exit code {said.code}\n"
        return without_run(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown))

    return run


def check(name: str, shown: str, *, wide: bool = False) -> None:
    """Compare what a terminal shows with the recorded file `name`."""
    file = SCREENS / f"{name}.txt"
    if RECORD:
        file.parent.mkdir(exist_ok=True)
        file.write_text(shown)
    assert shown == file.read_text()
    assert wide or max(map(len, shown.splitlines())) <= 80


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, such as ("db", "url")."""
    group = typer.main.get_command(command_line())
    for name in group.commands:
        command = group.get_command(typer.Context(group), name)
        yield from ((name, each) for each in command.commands) if hasattr(command, "commands") else [(name,)]


def test_every_command_has_a_recorded_screen() -> None:
    recorded = [*COMMANDS.values(), *LIFE]
    missing = {
        words for words in commands() if not any(tuple(each[: len(words)]) == words for each in recorded)
    }
    assert missing == set(), "add them to COMMANDS"


@pytest.mark.usefixtures("released")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_terminal_of_80_columns_shows(name: str, screen) -> None:
    check(name, screen(*COMMANDS[name]), wide="--wide" in COMMANDS[name])


@pytest.mark.usefixtures("servers")
def test_a_terminal_shows_the_life_of_a_campaign(screen, environment) -> None:
    environment.setenv("PGTZ", "UTC")
    shown = "".join(f"$ nnlite {' '.join(map(visible, each))}\n{screen(*each)}" for each in LIFE)
    undated = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-12-01 00:00:00", shown)
    check("life-of-a-campaign", undated)


def test_a_terminal_shows_that_a_home_is_empty(screen, environment) -> None:
    environment.setenv("NNLITE_HOME", "/nowhere/nnlite")
    shown = "".join(f"$ nnlite {' '.join(each)}\n{screen(*each)}" for each in EMPTY)
    check("empty-home", shown)


def visible(argument: str) -> str:
    return argument if argument.isprintable() else repr(argument)
