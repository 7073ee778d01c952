"""The `nnlite` command: one module per group of commands; each parses, calls one function and presents.

Exit codes: 0 done, 1 an error that the message explains, 2 wrong usage, 130
stopped by Ctrl-C.
"""

import atexit
import errno
import gc
import os
import sys
from typing import Annotated, Final

from nnlite.host.signals import ended_by_interrupts

with ended_by_interrupts():  # half of the time of a listing
    import typer

    from nnlite.cli.lazy_group import Entry, LazyGroup
    from nnlite.cli.presenting.output import out, print_error
    from nnlite.errors import NnliteError

_START, _LOOK, _STEER, _DEVICES, _SERVE, _HERE = (
    "Convert and measure", "Results", "Campaigns", "Devices", "Servers and workers", "This machine",
)  # fmt: skip
#: Commands in the order of `nnlite --help`.
COMMANDS: Final = {
    "run": Entry("run", _START, "Convert and measure models on this machine; show results."),
    "submit": Entry("submit", _START, "Queue a campaign for the workers and return at once."),
    "models": Entry("catalog", _START, "List the models of a source."),
    "fetch": Entry("catalog", _START, "Download LEMUR (nn-dataset, 103 MB)."),
    "preflight": Entry("preflight", _START, "List operators that cannot be converted."),
    "status": Entry("campaigns", _LOOK, "List campaigns and how far they are."),
    "watch": Entry("campaigns", _LOOK, "Show a campaign's progress until it has ended."),
    "results": Entry("results", _LOOK, "Show measurements: latency, verdict, parity."),
    "failures": Entry("results", _LOOK, "List what has no result, and why."),
    "atlas": Entry("atlas", _LOOK, "Show which operators are converted, by precision."),
    "profile": Entry("profile", _LOOK, "Show the time of each operator."),
    "sustained": Entry("sustained", _LOOK, "Show the latency over time of --sustained."),
    "rank": Entry("rank", _LOOK, "Rank a campaign by accuracy and latency."),
    "effects": Entry("effects", _LOOK, "Show which settings change the latency."),
    "export": Entry("export", _LOOK, "Write results for LEMUR, NN-GPT, Model Explorer."),
    "verify": Entry("verify", _LOOK, "Derive results again from their raw samples."),
    "reproduce": Entry("reproduce", _LOOK, "Measure a result again and compare."),
    "explain-parity": Entry("explain_parity", _LOOK, "Show where an artifact departs from PyTorch."),
    "describe": Entry("campaigns", _LOOK, "Show what a campaign was asked for."),
    "pause": Entry("campaigns", _STEER, "Start no new work of a campaign."),
    "resume": Entry("campaigns", _STEER, "Go on with a paused campaign."),
    "cancel": Entry("campaigns", _STEER, "End a campaign; results stay."),
    "retry": Entry("campaigns", _STEER, "Queue failed, cancelled or noisy work again."),
    "rename": Entry("campaigns", _STEER, "Give a campaign another name."),
    "delete": Entry("cleanup", _STEER, "Delete a campaign with its results."),
    "gc": Entry("cleanup", _STEER, "Delete artifacts that no campaign needs."),
    "devices": Entry("devices", _DEVICES, "List devices and incidents; end a quarantine."),
    "up": Entry("daemon", _SERVE, "Start servers and workers that stay until down."),
    "down": Entry("daemon", _SERVE, "Stop what up started."),
    "ps": Entry("daemon", _SERVE, "List servers and workers of this machine."),
    "logs": Entry("daemon", _SERVE, "Print the log of a server or worker."),
    "worker": Entry("workers", _SERVE, "Run a worker: convert, benchmark, check."),
    "reaper": Entry("workers", _SERVE, "Requeue lost work; serve metrics."),
    "flower": Entry("workers", _SERVE, "Show workers and queues in a browser."),
    "serve": Entry("rank", _SERVE, "Rank models for generators, over HTTP."),
    "db": Entry("database", _SERVE, "The database: schema, backups, address, psql."),
    "doctor": Entry("doctor", _HERE, "Say what this machine can do and what is missing."),
    "check": Entry("check", _HERE, "List what would keep a cluster from starting."),
}


class _Commands(LazyGroup):
    entries = COMMANDS


def command_line() -> typer.Typer:
    """Return the command line."""
    app = typer.Typer(
        cls=_Commands,
        name="nnlite",
        help="Find out, unattended and for days, how fast thousands of PyTorch models really run.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    return app


def main() -> None:
    """Run the command line and exit with what it means."""
    # Pydantic's search for plugins reads the metadata of every installed distribution.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # Python looks for garbage during imports, which make none, and again when all modules are taken down at
    # the end: a third of the processor time of a listing.
    gc.set_threshold(_COLLECT_AFTER)
    atexit.register(gc.freeze)
    try:
        command_line()()
    except KeyboardInterrupt:  # before the command is known
        sys.exit(130)
    except NnliteError as error:
        print_error(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            place = f" while writing {error.filename}" if error.filename else ""
            print_error(f"the disk is full{place}: free some space, then run the same command again")
        elif error.filename:
            print_error(f"{error.filename}: {error.strerror}")
        else:
            raise
        sys.exit(1)
    except RuntimeError as error:
        if str(error) != _NO_HOME:
            raise
        print_error("a path begins with ~, but that account has no home folder here; write the whole path")
        sys.exit(1)


#: Objects that are made before Python looks for garbage among them; its own number is 700 or 2,000. LEMUR's
#: wheel alone has 118,876 entries, and none of them is garbage.
_COLLECT_AFTER: Final = 500_000

#: What `Path.expanduser` says.
_NO_HOME: Final = "Could not determine home directory."


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        out.print(f"nnlite {version('nnlite')}", highlight=False)
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...
