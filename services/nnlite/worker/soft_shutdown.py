"""Soft shutdown of a worker: waits for its running attempts to be given back, and no longer.

Celery's own sleeps for the whole `worker_soft_shutdown_timeout`; when rows are given back, Postgres knows it.
"""

import time
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError

from nnlite.db.engine import autocommit, engine_for, first_line
from nnlite.queue import statements
from nnlite.vocabulary import WorkKind

log = structlog.get_logger()

#: Between two looks; a message that was received just before the stop has become a row by the second.
_POLL_S: Final = 0.25


def wait_until_given_back(database_url: str, kind: WorkKind, node: str, timeout_s: float) -> None:
    """Wait until two looks find no running row of `node`, but at most `timeout_s`.

    Without Postgres it waits the whole `timeout_s`. It opens its own connection: it runs in a signal handler,
    which may have interrupted code that uses another.
    """
    deadline = time.monotonic() + timeout_s
    idle_looks = 0
    engine = engine_for(database_url, timeout_s)
    try:
        while idle_looks < 2 and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            try:
                with autocommit(engine) as connection:
                    running = connection.execute(statements.node_rows(kind), {"node": node}).first()
            except DBAPIError as error:
                log.warning("cannot see which work still runs: waiting", error=first_line(error))
                time.sleep(max(0.0, deadline - time.monotonic()))
                return
            idle_looks = idle_looks + 1 if running is None else 0
    finally:
        engine.dispose()
