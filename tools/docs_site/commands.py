"""The reference page of the command line, from the commands themselves."""

import re
from collections.abc import Iterator
from typing import Any

import typer

from docs_site.markdown import code, table
from nnlite.cli import command_line

_INTRODUCTION = """# Commands

Generated from the commands. `--help` on each says the same. Exit codes: 0 success, 1 an error that the
message explains, 2 wrong usage, 130 stopped by Ctrl-C.
"""


def commands_page() -> str:
    """Return the page: one section per command, with its arguments and options."""
    root = typer.main.get_command(command_line())
    return "\n".join([_INTRODUCTION, *_sections(root, typer.Context(root, info_name="nnlite"))])


def _sections(command: Any, context: typer.Context) -> Iterator[str]:
    for name in getattr(command, "commands", {}):
        child = command.get_command(context, name)
        own = typer.Context(child, info_name=name, parent=context)
        if not child.hidden:
            yield _section(child, own)
            yield from _sections(child, own)


def _section(command: Any, context: typer.Context) -> str:
    usage = command.get_usage(context).removeprefix("Usage: ")
    parameters = [record for parameter in command.params if (record := parameter.get_help_record(context))]
    parts = [f"## {context.command_path}\n", f"```text\n{usage}\n```\n", _paragraphs(command.help or "")]
    if parameters:
        parts.append(
            table(("argument or option", "meaning"), [(code(name), text) for name, text in parameters])
        )
    return "\n".join(parts)


def _paragraphs(help_text: str) -> str:
    """Return a command's help; its examples as code."""
    return re.sub(r"^Example: (.*)$", r"```console\n$ \1\n```", help_text, flags=re.MULTILINE) + "\n"
