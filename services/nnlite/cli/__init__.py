"""The `nnlite` command: one module per group of commands; each parses, calls one function and presents.

Exit codes: 0 done, 1 an error that the message explains, 2 wrong usage, 130
stopped by Ctrl-C.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Final

import typer

from nnlite import logs
from nnlite.cli.output import err, out
from nnlite.errors import NnliteError

#: Commands by module, in the order of `nnlite --help`. A command imports its own module only: a worker starts
#: in half of the time that all take.
COMMANDS: Final = {
    "run": ("run",),
    "campaigns": ("submit", "watch", "status", "results", "failures", "retry", "cancel", "pause", "resume"),
    "export": ("export",),
    "catalog": ("models", "fetch"),
    "explain_parity": ("explain-parity",),
    "profile": ("profile",),
    "verify": ("verify",),
    "reproduce": ("reproduce",),
    "devices": ("devices",),
    "workers": ("reaper", "flower", "worker"),
    "database": ("db",),
    "check": ("check",),
    "doctor": ("doctor",),
}


def app_for(arguments: Sequence[str] = ()) -> typer.Typer:
    """Return the command line with the module of the command in `arguments`, or with all modules."""
    wanted = [module for module, commands in COMMANDS.items() if {*commands}.intersection(arguments[:1])]
    app = typer.Typer(
        name="nnlite",
        help="Find out, unattended and for days, how fast thousands of PyTorch models really run.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )
    app.callback()(_options)
    for module in wanted or COMMANDS:
        app.add_typer(import_module(f"nnlite.cli.{module}").app)
    return app


def main() -> None:
    """Run the command line and exit with what it means."""
    # To stderr: what goes to stdout is a command's answer. Workers and the reaper choose their own level.
    logs.configure("WARNING")
    try:
        app_for(sys.argv[1:])()
    except NnliteError as error:
        err.print("error: ", style="bold red", end="")
        err.print(str(error), highlight=False, soft_wrap=True)
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"nnlite {version('nnlite')}", highlight=False)
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...
