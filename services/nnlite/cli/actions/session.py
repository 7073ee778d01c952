"""Session of a command: the settings, and connections to the servers that they name.

`session` is for commands that change something, `reading` for listings: it imports no Celery, Redis or
SQLAlchemy. Only commands that bring something into a database create one.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from nnlite.cli.presenting.output import note
from nnlite.errors import NnliteError
from nnlite.local import endpoints, has_database, servers
from nnlite.settings import Settings, load_settings

if TYPE_CHECKING:  # take longer to import than a listing takes
    from sqlalchemy import Engine

    from nnlite.queue.messages import BrokerClient
    from nnlite.results.reading import Reads


@dataclass(frozen=True, kw_only=True)
class Session:
    """One command's view of a cluster."""

    settings: Settings
    engine: "Engine"
    broker: "BrokerClient"


@contextmanager
def session(*, creates: bool = False, waits_for_schema: bool = False) -> Iterator[Session]:
    """Open the cluster that the settings name; embedded servers are started if needed and migrated.

    Args:
        creates: create the database of a home that has none; else that is an error.
        waits_for_schema: wait where the database has another schema; else that is an error.

    Raises:
        NnliteError: the settings are wrong, there is no database, a server cannot be used, or Postgres went
            away meanwhile.
    """
    import structlog

    from nnlite import logs
    from nnlite.db.engine import check_schema, engine_for, explained
    from nnlite.db.reader import migrate_embedded
    from nnlite.queue.messages import BrokerClient
    from nnlite.worker.schema_guard import await_schema

    if not structlog.is_configured():
        # To stderr: what goes to stdout is a command's answer. Workers and the reaper choose their own level.
        logs.configure("WARNING")
    settings = load_settings()
    if not creates:
        check_database(settings)
    with explained(), servers(settings) as endpoints:
        migrate_embedded(settings, endpoints.database_url)
        engine = engine_for(endpoints.database_url, settings.database_timeout_s)
        broker = BrokerClient(endpoints.broker_url, settings.broker_timeout_s)
        try:
            if waits_for_schema:
                await_schema(engine, settings.health_file)
            check_schema(engine)
            yield Session(settings=settings, engine=engine, broker=broker)
        finally:
            broker.close()
            engine.dispose()


@contextmanager
def reading() -> Iterator["Reads"]:
    """Open the database that the settings name, to read; an embedded one is started if it does not run.

    A home without a database has no rows, which is said; nothing is created.

    Raises:
        NnliteError: the settings are wrong, or the database cannot be used.
    """
    from nnlite.db.reader import NoDatabase
    from nnlite.results.reading import open_reader

    settings = load_settings()
    with open_reader(settings) as database:
        if isinstance(database, NoDatabase):
            note(_nothing(settings))
        yield database


def check_database(settings: Settings) -> None:
    """Check that there is a database, so that none is created to find nothing in it.

    Raises:
        NnliteError: the home has none.
    """
    if not has_database(settings):
        raise NnliteError(_nothing(settings))


def _nothing(settings: Settings) -> str:
    return f"nothing is here yet: {settings.home} has no database; `nnlite run --limit 5` makes one"


def served_queues() -> frozenset[str]:
    """Return the queues that living workers consume; none where the broker does not run or answer."""
    from nnlite.queue.messages import BrokerClient

    settings = load_settings()
    try:
        url = settings.broker_url or endpoints(settings).broker_url
        with closing(BrokerClient(url, settings.broker_timeout_s)) as broker:
            return broker.served_queues()
    except NnliteError:
        return frozenset()


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Let Ctrl-C end the block gracefully, then print `message` and exit with 130."""
    try:
        yield
    except KeyboardInterrupt:
        note(message)
        raise typer.Exit(130) from None
