"""Version handshake with the database: a process works only on the schema of its own version.

A process that finds another schema at its start waits for its own and says so. One that runs while the schema
is upgraded takes no more work and ends gracefully; its supervisor starts it again, perhaps of the new
version.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import Engine

from nnlite.db.engine import check_schema
from nnlite.db.schema import SchemaError
from nnlite.errors import Stopped, Unavailable
from nnlite.host.health_file import TOUCH_EVERY_S, touch_health_file

log = structlog.get_logger()

#: Between two log lines of a process that waits, seconds.
SAID_EVERY_S: Final = 60.0
#: A worker looks at the schema at most this often, seconds.
LOOKED_EVERY_S: Final = 10.0


class SchemaChangedError(Unavailable):
    """The schema is another one than at the start: nothing was claimed, and the worker ends."""


def await_schema(
    engine: Engine, health_file: Path | None = None, stopping: Callable[[], bool] = lambda: False
) -> None:
    """Wait until the database has the schema of this version; waiting counts as progress.

    Raises:
        DatabaseError: Postgres cannot be reached.
        Stopped: `stopping` became true.
    """
    said_s: float | None = None
    while True:
        try:
            check_schema(engine)
            return
        except SchemaError as error:
            if said_s is None or time.monotonic() - said_s > SAID_EVERY_S:
                log.warning("waiting for the schema of this version", reason=str(error))
                said_s = time.monotonic()
        touch_health_file(health_file)
        if stopping():
            raise Stopped("stopped while waiting for the schema of this version")
        time.sleep(TOUCH_EVERY_S)


@dataclass(kw_only=True)
class SchemaGuard:
    """Ends a running worker once its database has been upgraded."""

    engine: Engine
    #: The worker's main process.
    main_pid: int
    _looked_s: float | None = field(default=None, init=False)

    def check(self) -> None:
        """Look at the schema, unless that was done a moment ago.

        Raises:
            SchemaChangedError: it is another one; the worker was sent SIGTERM.
            DatabaseError: Postgres cannot be reached.
        """
        if self._looked_s is not None and time.monotonic() - self._looked_s < LOOKED_EVERY_S:
            return
        try:
            check_schema(self.engine)
        except SchemaError as error:
            log.warning("the schema was changed; this worker ends, to be started again", reason=str(error))
            os.kill(self.main_pid, signal.SIGTERM)
            raise SchemaChangedError(str(error)) from error
        self._looked_s = time.monotonic()
