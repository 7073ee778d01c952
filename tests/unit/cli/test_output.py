"""Tables that people can read and programs can cut; values are shown as they are."""

import io
import json
import os
import pty
import re
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nnlite.cli.presenting import output
from nnlite.cli.presenting.output import print_json, print_table
from waiting import HANG_S

LONG = "rl-init-" + "2a44b82bd55bc4bb9787225ac8875838" * 3


@pytest.fixture
def table(capsys):
    """Print a table as into a pipe and return its lines without the frame."""

    def printed(rows, columns, **arguments) -> list[list[str]]:
        print_table(rows, columns, **arguments)
        lines = capsys.readouterr().out.splitlines()
        starts = [match.start() for match in re.finditer(r"(?<=  )\S|^\S", lines[0])]
        ends = [*starts[1:], None]
        return [[line[at:end].strip() for at, end in zip(starts, ends, strict=True)] for line in lines]

    return printed


def test_a_piped_table_has_every_character_of_every_value(table):
    reason = "a very long reason " * 20
    rows = table([{"model": LONG, "reason": reason}], ("model", "reason"))
    assert rows == [["model", "reason"], [LONG, reason.strip()]]


def test_a_piped_table_is_not_padded_and_does_not_wrap(capsys):
    reason = "word " * 300
    print_table([{"model": "a", "reason": reason}, {"model": "b", "reason": "short"}], ("model", "reason"))
    header, first, second = capsys.readouterr().out.splitlines()
    assert (header, second) == ("model  reason", "b      short")
    assert first == f"a      {reason.strip()}"


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
    _, *lines = capsys.readouterr().out.splitlines()
    ends = [line.rstrip() for line in lines]
    shown = [value for value in values if value is not None]
    assert len({len(end) for end in ends if end}) == 1, "they end in one column"
    assert [end.strip() for end in ends if end] == [str(value) for value in shown]


@pytest.mark.parametrize("values", [["resnet", "1"], ["valid", "noisy, drift"], ["a1", "bb22"]])
def test_words_are_left_aligned(capsys, values):
    print_table([{"w": value} for value in values], ("w",))
    _, *lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(value) for line, value in zip(lines, values, strict=True))


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
def test_in_a_terminal_names_wrap_and_numbers_stay_whole():
    shown = _in_dumb_terminal([sys.executable, Path(__file__).parent / "programs" / "print_row.py", LONG])
    assert "123.4 MB" in shown and "throttled" in shown
    assert LONG not in shown and "…" not in shown
    assert "".join(line.split()[0] for line in shown.splitlines()[1:]) == LONG
    assert max(map(len, shown.splitlines())) <= 80


@pytest.fixture
def narrow(monkeypatch):
    """A terminal of 40 columns and 10 lines, and what is printed there."""
    written = io.StringIO()
    console = output._PlainConsole(width=40, height=10, file=written, force_terminal=True, no_color=True)
    monkeypatch.setattr(output, "out", console)
    return lambda: re.sub(r"\x1b\[[0-9;]*m", "", written.getvalue())


def test_the_least_important_columns_give_way_and_that_is_said(narrow, capsys):
    row = {"model": "BagNet", "size": "1.5 MB", "p90 ms": "12.345678", "verdict": "valid", "reason": "x" * 30}
    print_table([row], [*row], optional=("p90 ms", "size"))
    header, *_ = narrow().splitlines()
    assert header.split() == ["model", "verdict", "reason"]
    assert "not shown in 40 columns: size, p90 ms" in capsys.readouterr().err.replace("\n", " ")


def test_wide_shows_all_on_lines_of_their_length(narrow):
    row = {"model": "BagNet", "size": "1.5 MB", "p90 ms": "12.345678", "verdict": "valid", "reason": "x" * 30}
    print_table([row], [*row], optional=("p90 ms", "size"), wide=True)
    _, cells = narrow().splitlines()
    assert cells.split() == ["BagNet", "1.5", "MB", "12.345678", "valid", "x" * 30]


@pytest.mark.process
def test_a_long_listing_goes_through_the_pager(narrow, monkeypatch, tmp_path):
    seen = tmp_path / "seen"
    monkeypatch.setenv("PAGER", f"tee {seen}")
    with output.paged():
        print_table([{"n": number} for number in range(20)], ("n",))
    assert re.sub(r"\x1b\[[0-9;]*m", "", seen.read_text()).split() == ["n", *map(str, range(20))]
    assert narrow() == ""
    with output.paged():
        print_table([{"n": 1}], ("n",))
    assert narrow().split() == ["n", "1"], "a short one does not"


@pytest.mark.parametrize("pager", ["", "no-such-pager"])
def test_without_a_pager_a_long_listing_is_printed(pager, narrow, monkeypatch):
    monkeypatch.setenv("PAGER", pager)
    with output.paged():
        print_table([{"n": number} for number in range(20)], ("n",))
    assert narrow().split() == ["n", *map(str, range(20))]


def test_a_terminal_shows_as_many_rows_as_people_read(narrow, capsys):
    assert len(output.listed(range(1000), None)) == 50
    assert "50 of 1,000 shown; --top 0 shows all" in capsys.readouterr().err
    assert len(output.listed(range(1000), 3)) == 3
    assert len(output.listed(range(1000), 0)) == 1000


def test_a_pipe_has_all_rows(capsys):
    assert len(output.listed(range(1000), None)) == 1000
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[31mred", r"\x1b[31mred"), ("a\u202eb", r"a\u202eb"), ("a\rb", r"a\rb"), ("ä ± 1", "ä ± 1")],
)
def test_control_characters_are_written_out(text, shown, table, capsys):
    assert table([{"model": text}], ("model",))[1] == [shown]
    output.note(text)
    assert capsys.readouterr().err == f"{shown}\n"


def test_a_line_break_in_a_name_is_written_out(table):
    assert table([{"model": "a\nb"}], ("model",))[1:] == [[r"a\nb"]]


@pytest.mark.parametrize(("number", "text"), [(1, "1 model"), (0, "0 models"), (1234, "1,234 models")])
def test_numbers_agree_with_their_nouns(number, text):
    assert output.count(number, "model") == text


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
