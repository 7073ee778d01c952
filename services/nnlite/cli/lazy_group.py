"""The group of all commands: it imports the module of a command when that command is run or completed."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_group_from_info
from typer.models import TyperInfo


@dataclass(frozen=True)
class Entry:
    """One command: where it is, and what `nnlite --help` says about it."""

    #: Below `nnlite.cli`.
    module: str
    #: Heading in the help.
    panel: str
    #: First sentence of the command's own help.
    summary: str


class LazyGroup(TyperGroup):
    """Commands by name; the help needs none of their modules."""

    entries: ClassVar[Mapping[str, Entry]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # Typer looks here for names like a mistyped one.
        self.commands = {
            name: TyperCommand(name, help=entry.summary, rich_help_panel=entry.panel)
            for name, entry in self.entries.items()
        }

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command to run, complete or show the help of; None: there is none."""
        return load(self.entries[cmd_name].module, cmd_name, ctx) if cmd_name in self.entries else None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, with the commands' summaries."""
        self._summaries(ctx).format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return the commands and options that begin with `incomplete`."""
        return self._summaries(ctx).shell_complete(ctx, incomplete)

    def _summaries(self, ctx: Any) -> TyperGroup:
        group = TyperGroup(
            name=self.name, help=self.help, params=self.params, commands=dict(self.commands),
            context_settings=self.context_settings, rich_markup_mode=self.rich_markup_mode,
        )  # fmt: skip
        _shorten_types(group, ctx)
        return group


def load(module: str, name: str, ctx: Any) -> Any:
    """Import `nnlite.cli.MODULE` and return its command `name`."""
    group = get_group_from_info(
        TyperInfo(import_module(f"nnlite.cli.{module}").app),
        pretty_exceptions_short=True,
        suggest_commands=True,
        rich_markup_mode="markdown",
    )
    command = group.commands[name]
    _shorten_types(command, ctx)
    return command


def _shorten_types(command: Any, ctx: Any) -> None:
    """Let the help name the types of options as other programs do; flags and arguments have none."""
    for parameter in (*command.params, command.get_help_option(ctx)):
        if isinstance(parameter, TyperArgument):
            parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
        elif isinstance(parameter, TyperOption) and parameter.metavar is None:
            parameter.metavar = "" if parameter.is_flag else _TYPES.get(parameter.display_type(ctx))
    for each in getattr(command, "commands", {}).values():
        _shorten_types(each, ctx)


#: Names of types in the help, by those that Typer shows.
_TYPES = {
    "<str>": "TEXT",
    "<list[str]>": "TEXT",
    "<Path>": "PATH",
    "<path>": "PATH",
    "<list[Path]>": "PATH",
    "<int>": "N",
    "<int range>": "N",
    "<float>": "N",
    "<float range>": "N",
}
