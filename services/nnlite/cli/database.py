"""`nnlite db`: upgrades the schema, backs up and restores, prints the address, opens psql."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from nnlite.cli.actions.session import check_database
from nnlite.cli.presenting.output import err, note, out
from nnlite.db.engine import engine_for, explained, upgrade, where
from nnlite.errors import UsageError
from nnlite.local import psql_command, servers
from nnlite.local.backup import back_up, restore
from nnlite.settings import load_settings

app = typer.Typer()
db = typer.Typer(help="The database: schema, backups, address, psql.", no_args_is_help=True)
app.add_typer(db, name="db")


@db.command("upgrade")
def upgrade_command() -> None:
    """Upgrade the schema of the database to this version; does nothing if it is current."""
    settings = load_settings()
    with explained(), servers(settings) as endpoints:
        upgrade(endpoints.database_url)
        err.print(f"up to date: {where(engine_for(endpoints.database_url))}", highlight=False)


@db.command()
def backup(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where dumps are kept; created if it is missing.")
    ],
    keep: Annotated[
        int, typer.Option(min=1, help="Days whose last dump is kept, of today all; older ones are deleted.")
    ] = 14,
) -> None:
    """Dump the database into a folder while everything runs; the artifact store is not in it.

    Example: nnlite db backup /var/backups/nnlite --keep 30
    """
    settings = load_settings()
    check_database(settings)
    with servers(settings) as endpoints:
        note(back_up(settings, endpoints.database_url, folder, keep))


@db.command("restore")
def restore_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="What `backup` has written.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Replace the database by a dump; workers must be stopped. A dump that fails changes nothing.

    A dump of an older version is upgraded by `nnlite db upgrade`, an embedded database by the next command.

    Example: nnlite down && nnlite db restore /var/backups/nnlite/nnlite-DATE.dump
    """
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("restoring replaces the database: say so with --yes")
        typer.confirm(f"Replace everything in the database by {file}?", abort=True)
    settings = load_settings()
    with servers(settings) as endpoints:
        note(restore(settings, endpoints.database_url, file))


@db.command()
def url() -> None:
    """Print the URL of the database with its password; embedded servers must be running."""
    settings = load_settings()
    check_database(settings)
    with servers(settings) as endpoints:
        out.print(endpoints.database_url, highlight=False, soft_wrap=True)


@db.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """Open the database in psql; arguments go to psql, and commands can be piped to it.

    Example: nnlite db psql -c 'TABLE latency' --csv
    """
    settings = load_settings()
    check_database(settings)
    with servers(settings):
        command, environment = psql_command(settings)
        command += context.args
        status = os.spawnvpe(os.P_WAIT, command[0], command, dict(os.environ) | environment)
    raise typer.Exit(status)
