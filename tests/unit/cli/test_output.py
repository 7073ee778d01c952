"""Tables that people can read and programs can cut; values are shown as they are."""

import json
import os
import pty
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nnlite.cli import output
from nnlite.cli.output import print_json, print_table
from waiting import HANG_S

LONG = "rl-init-" + "2a44b82bd55bc4bb9787225ac8875838" * 3


@pytest.fixture
def table(capsys):
    """Print a table as into a pipe and return its lines without the frame."""

    def printed(rows, columns, **arguments) -> list[list[str]]:
        print_table(rows, columns, **arguments)
        lines = capsys.readouterr().out.splitlines()
        rows = [line.strip("│┃").split(line[0]) for line in lines if line[0] in "│┃"]
        return [[cell.strip() for cell in row] for row in rows]

    return printed


def test_a_piped_table_has_every_character_of_every_value(table):
    reason = "a very long reason " * 20
    rows = table([{"model": LONG, "reason": reason}], ("model", "reason"))
    assert rows == [["model", "reason"], [LONG, reason.strip()]]


def test_none_is_an_empty_cell_and_a_missing_column_too(table):
    assert table([{"a": None}], ("a", "b"))[1] == ["", ""]


@pytest.mark.parametrize(
    "value", ["[bold]x[/bold]", "[/nope]", "[red", "\\[x]", ":smile:", "a [1, 3, 8, 8] b"]
)
def test_markup_in_a_value_is_printed_verbatim(table, value):
    assert table([{"model": value, "reason": value}], ("model", "reason"))[1] == [value, value]


def test_markup_in_a_note_is_printed_verbatim(capsys):
    output.err.print("paused [/nope] [red]x :smile:", highlight=False)
    assert capsys.readouterr().err == "paused [/nope] [red]x :smile:\n"


def test_a_note_is_one_line_in_a_pipe(capsys):
    output.err.print("word " * 100, highlight=False)
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "values",
    [[1, 1000], [0.5, None], ["1,234", "12"], ["0.123", "1234.5"], ["3.1%", "12.0%"], ["12 kB", "1.5 MB"]],
)
def test_numbers_are_right_aligned(capsys, values):
    print_table([{"n": value} for value in values], ("n",))
    ends = [line.rstrip("│ ") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    shown = [value for value in values if value is not None]
    assert len({len(end) for end in ends if end}) == 1, "they end in one column"
    assert [end.strip("│ ") for end in ends if end] == [str(value) for value in shown]


@pytest.mark.parametrize("values", [["resnet", "1"], ["valid", "noisy, drift"], ["a1", "bb22"]])
def test_words_are_left_aligned(capsys, values):
    print_table([{"w": value} for value in values], ("w",))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert all(line.startswith(f"│ {value}") for line, value in zip(lines, values, strict=True))


def test_json_is_one_array_with_every_type_that_rows_have(capfdbinary):
    when, which = datetime(2026, 1, 2, tzinfo=UTC), uuid.UUID(int=7)
    print_json([{"at": when, "id": which, "n": None, "names": ["ä"]}])
    assert json.loads(capfdbinary.readouterr().out) == [
        {"at": "2026-01-02T00:00:00+00:00", "id": str(which), "n": None, "names": ["ä"]}
    ]


def test_json_without_rows_is_an_empty_array(capfdbinary):
    print_json([])
    assert json.loads(capfdbinary.readouterr().out) == []


@pytest.mark.process
def test_in_a_terminal_names_are_cut_and_numbers_stay_whole():
    shown = _in_dumb_terminal([sys.executable, Path(__file__).parent / "programs" / "print_row.py", LONG])
    assert "123.4 MB" in shown and "throttled" in shown
    assert LONG not in shown and "…" in shown
    assert max(map(len, shown.splitlines())) <= 80


def _in_dumb_terminal(command: list[object]) -> str:
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "dumb"}
    with subprocess.Popen(command, stdout=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:  # Linux says so at the end of a terminal
            pass
        assert process.wait(HANG_S) == 0
    os.close(ours)
    return shown.decode()
