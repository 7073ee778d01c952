"""The command line: every command is found by its own module, and a listing imports nothing heavy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from nnlite.cli import COMMANDS, command_line, main
from waiting import HANG_S

#: What only commands that work with the queue or convert need.
HEAVY = (
    "alembic", "celery", "fsspec", "kombu", "pydantic_settings", "redis", "sqlalchemy", "structlog", "torch",
)  # fmt: skip


def group():
    return typer.main.get_command(command_line())


def context(*names: str):
    command = group()
    found = typer.Context(command, info_name="nnlite", help_option_names=["-h", "--help"])
    for name in names:
        command = command.get_command(found, name)
        found = typer.Context(command, parent=found, info_name=name)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_where_it_is_said_to_be(name: str) -> None:
    command = context(name).command
    assert command.name == name
    assert command.help, "it says what it does"


def test_an_unknown_command_is_wrong_usage(said) -> None:
    code, _, err = said("statu")
    assert code == 2
    assert "Did you mean 'status'" in err


def test_help_lists_every_command_within_80_columns(said) -> None:
    code, out, _ = said("-h")
    assert code == 0
    assert [name for name in COMMANDS if f"│ {name} " not in out] == []
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_fits_80_columns_and_flags_have_no_type(name: str, said) -> None:
    code, out, _ = said(name, "--help")
    assert code == 0
    assert "<bool>" not in out and "<list[" not in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(("option", "known"), [("--state", "ok, off"), ("--precision", "fp32, fp16")])
def test_a_word_that_the_atlas_does_not_know_is_wrong_usage(option: str, known: str, said) -> None:
    code, _, err = said("atlas", option, "okay,int")
    assert code == 2
    assert f"{option} 'okay' is none of {known}" in " ".join(err.split())


def test_the_version_is_printed(said) -> None:
    code, out, _ = said("--version")
    assert code == 0
    assert out.startswith("nnlite 0.")


@pytest.mark.parametrize("path", ["~nobody-of-this-name/net.py", "~nobody-of-this-name"])
def test_the_home_of_an_account_that_is_not_there_is_said_without_a_traceback(path: str, said) -> None:
    code, _, err = said("submit", "--source", "files", "--path", path, "--dry-run")
    assert code == 1
    assert " ".join(err.split()) == (
        "error: a path begins with ~, but that account has no home folder here; write the whole path"
    )


def test_a_file_that_cannot_be_used_is_said_without_a_traceback(said, monkeypatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/srv/home/state.json")

    monkeypatch.setattr("nnlite.cli.daemon.load_settings", denied)
    assert said("ps") == (1, "", "error: /srv/home/state.json: Permission denied\n")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command in a terminal of 80 columns; return its exit code and what it printed."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nnlite", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.mark.process
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"], ["--version"], ["status"], ["status", "--json"], ["results"], ["failures"], ["devices"],
        ["devices", "incidents"], ["profile"], ["sustained"], ["ps"], ["logs"], ["run", "--help"],
        ["submit", "--help"], ["results", "--help"], ["models", "--help"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_listing_imports_nothing_heavy_and_creates_nothing(arguments: list[str], tmp_path: Path) -> None:
    run = _run(arguments, tmp_path, {})
    assert run["code"] == 0
    assert run["heavy"] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
@pytest.mark.parametrize("typed", ["nnlite sta", "nnlite results ni", "nnlite results --pool p"])
def test_completion_imports_nothing_heavy_and_creates_nothing(typed: str, tmp_path: Path) -> None:
    shell = {"_NNLITE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    run = _run([], tmp_path, shell)
    assert run["heavy"] == []
    assert list(tmp_path.iterdir()) == []
    assert ("status" in run["out"]) == (typed == "nnlite sta")


def _run(arguments: list[str], home: Path, environment: dict[str, str]) -> dict:
    """Run the command in a process of its own; return its exit code and heavy modules."""
    program = Path(__file__).parent / "programs" / "imports_of_command.py"
    settings = {"NNLITE_HOME": str(home)}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NNLITE_")}
    ended = subprocess.run(
        [sys.executable, program, ",".join(HEAVY), *arguments],
        env=clean | settings | environment, capture_output=True, text=True, timeout=HANG_S, cwd=home,
    )  # fmt: skip
    code, heavy = json.loads(ended.stderr.splitlines()[-1])
    return {"code": code, "heavy": heavy, "out": ended.stdout}
