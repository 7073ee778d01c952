"""What guides tell people to type is there: commands with their options, and the pages that they link to."""

import re
from pathlib import Path

import pytest
import typer

from nnlite.cli import app

CHECKOUT = Path(__file__).parents[3]
GUIDES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "deploy").rglob("*.md"))]
COMMAND = re.compile(r"(?:^[$#>] |-- |--rm |/bin/)nnlite ((?:[^#\n]|#\S)*)", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)#:]+)(?:#[^)]*)?\)")


def name(path):
    return str(path.relative_to(CHECKOUT))


@pytest.mark.parametrize("guide", GUIDES, ids=name)
def test_the_commands_of_a_guide_are_commands(guide):
    typed = "\n".join(re.findall(r"```console\n(.*?)```", guide.read_text(), re.DOTALL))
    for line in COMMAND.findall(typed):
        command, words = typer.main.get_command(app), line.split()
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        is_group = hasattr(command, "commands")
        assert not is_group or not words or words[0].startswith("--"), line
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= known, line


@pytest.mark.parametrize("guide", GUIDES, ids=name)
def test_the_pages_that_a_guide_links_to_are_there(guide):
    links = LINK.findall(guide.read_text())

    assert [link for link in links if not (guide.parent / link).exists()] == []
