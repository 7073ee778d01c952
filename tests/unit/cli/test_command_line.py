"""The command line: every command is found, by its own module alone."""

import sys

import pytest
import typer

from nnlite.cli import COMMANDS, app_for, main


def names(*arguments: str) -> list[str]:
    return list(typer.main.get_command(app_for(arguments)).commands)


def test_each_module_has_the_commands_that_are_listed_for_it() -> None:
    for commands in COMMANDS.values():
        for command in commands:
            assert names(command) == list(commands)
    assert names() == names("no-such") == [command for commands in COMMANDS.values() for command in commands]


def test_the_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["nnlite", "--version"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert capsys.readouterr().out.startswith("nnlite 0.")
