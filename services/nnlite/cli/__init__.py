"""The `nnlite` command: one module per group of commands; each parses, calls one function and presents.

Exit codes: 0 done, 1 an error that the message explains, 2 wrong usage, 130
stopped by Ctrl-C.
"""

import sys

import typer

from nnlite import logs
from nnlite.cli import campaigns, catalog, check, database, devices, doctor, export, run, workers
from nnlite.cli.output import err
from nnlite.db.engine import explained
from nnlite.errors import NnliteError

app = typer.Typer(
    name="nnlite",
    help="Find out, unattended and for days, how fast thousands of PyTorch models really run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for module in (run, campaigns, export, catalog, devices, workers, database, check, doctor):
    app.add_typer(module.app)


def main() -> None:
    """Run the command line and exit with what it means."""
    # To stderr: what goes to stdout is a command's answer. Workers and the reaper choose their own level.
    logs.configure("WARNING")
    try:
        with explained():
            app()
    except NnliteError as error:
        err.print("error: ", style="bold red", end="")
        err.print(str(error), highlight=False, soft_wrap=True)
        sys.exit(1)
