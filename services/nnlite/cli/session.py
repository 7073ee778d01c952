"""Session of a command: the settings, and connections to the servers that they name."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import typer
from sqlalchemy import Engine

from nnlite.cli.output import err
from nnlite.db.engine import check_schema, engine_for, explained, migrate_embedded
from nnlite.local import servers
from nnlite.queue.messages import BrokerClient
from nnlite.settings import Settings, load_settings


@dataclass(frozen=True, kw_only=True)
class Session:
    """One command's view of a cluster."""

    settings: Settings
    engine: Engine
    broker: BrokerClient


@contextmanager
def session() -> Iterator[Session]:
    """Open the cluster that the settings name; embedded servers are started if needed and migrated.

    Raises:
        NnliteError: the settings are wrong, a server cannot be used, or Postgres went away meanwhile.
    """
    settings = load_settings()
    with explained(), servers(settings) as endpoints:
        migrate_embedded(settings, endpoints.database_url)
        engine = engine_for(endpoints.database_url, settings.database_timeout_s)
        broker = BrokerClient(endpoints.broker_url, settings.broker_timeout_s)
        try:
            check_schema(engine)
            yield Session(settings=settings, engine=engine, broker=broker)
        finally:
            broker.close()
            engine.dispose()


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Let Ctrl-C end the block gracefully, then print `message` and exit with 130."""
    try:
        yield
    except KeyboardInterrupt:
        err.print(message, highlight=False)
        raise typer.Exit(130) from None
