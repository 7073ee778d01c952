"""`nnlite db`: upgrades the schema, prints the address, opens psql."""

import os

import typer

from nnlite.cli.output import err, out
from nnlite.db.engine import engine_for, explained, upgrade, where
from nnlite.local import psql_command, servers
from nnlite.settings import load_settings

app = typer.Typer()
db = typer.Typer(help="The database: schema, address, psql.", no_args_is_help=True)
app.add_typer(db, name="db")


@db.command("upgrade")
def upgrade_command() -> None:
    """Upgrade the schema of the database to this version; does nothing if it is current."""
    settings = load_settings()
    with explained(), servers(settings) as endpoints:
        upgrade(endpoints.database_url)
        err.print(f"up to date: {where(engine_for(endpoints.database_url))}", highlight=False)


@db.command()
def url() -> None:
    """Print the URL of the database with its password; embedded servers must be running."""
    settings = load_settings()
    with servers(settings) as endpoints:
        out.print(endpoints.database_url, highlight=False, soft_wrap=True)


@db.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """Open the database in psql; arguments go to psql, and commands can be piped to it.

    Example: nnlite db psql -c 'TABLE latency' --csv
    """
    settings = load_settings()
    with servers(settings):
        command, environment = psql_command(settings)
        command += context.args
        status = os.spawnvpe(os.P_WAIT, command[0], command, dict(os.environ) | environment)
    raise typer.Exit(status)
