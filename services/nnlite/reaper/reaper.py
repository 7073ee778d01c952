"""What heals the queue: expired leases, and messages that Redis no longer has.

A loop in the process `nnlite reaper`, not a Celery task, which would wait behind
the very work it must reap. Any number may run; an advisory lock picks one. Its
Postgres half does not need Redis; its Redis half fails alone.
"""

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, Engine, TextClause, text
from sqlalchemy.exc import DBAPIError

from nnlite.db.engine import autocommit
from nnlite.host.health_file import touch_health_file
from nnlite.queue import leases
from nnlite.queue.app import CONVERT_QUEUE, benchmark_queue
from nnlite.queue.messages import BrokerClient, BrokerUnreachableError, Message
from nnlite.settings import Settings
from nnlite.vocabulary import WorkKind
from nnlite.worker.attempt import send

log = structlog.get_logger()

#: Key of the advisory lock that picks one reaper of those that run.
ADVISORY_LOCK = 7202119


@dataclass
class GracePeriod:
    """When leases may be expired: not while their owners may have been unable to renew them.

    After a start, a loss of Postgres or a gap between rounds (a suspended machine,
    a paused server), every living lease looks expired; owners get one lease of time.
    """

    lease_s: float
    _since_s: float | None = field(default=None, init=False)
    _last_s: float | None = field(default=None, init=False)

    def round(self, now_s: float) -> bool:
        """Note a round at `now_s` (any steady clock) and return whether it may expire leases."""
        gap = self._last_s is not None and now_s - self._last_s > self.lease_s / 2
        if self._since_s is None or gap:
            self._since_s = now_s
        self._last_s = now_s
        return now_s - self._since_s >= self.lease_s

    def lost(self) -> None:
        """Postgres could not be reached: owners could not renew either."""
        self._since_s = None
        self._last_s = None


class Reaper:
    """One reaper; `run` is its loop.

    Args:
        engine: of Postgres.
        broker: of the broker.
        settings: intervals and limits.
    """

    def __init__(self, engine: Engine, broker: BrokerClient, settings: Settings) -> None:
        self._engine = engine
        self._messenger = broker
        self._settings = settings
        self._patience = GracePeriod(settings.queue.lease_s)
        self._connection: Connection | None = None
        self._picked = False
        #: Rows whose lease ended, and messages that were gone, since the start.
        self.expired: Counter[WorkKind] = Counter()
        self.resent: Counter[WorkKind] = Counter()

    @property
    def picked(self) -> bool:
        """Whether this reaper is the one that reaps."""
        return self._connection is not None and self._picked

    def run(self, stop: threading.Event) -> None:
        """Make a round every `reaper_interval_s` until `stop` is set, and give a sign of life with each."""
        while not stop.is_set():
            touch_health_file(self._settings.health_file)
            try:
                self.round(time.monotonic())
            except DBAPIError as error:
                self._drop_connection()
                self._patience.lost()
                log.warning("Postgres cannot be reached; nothing expires", error=str(error.orig).strip())
            stop.wait(self._settings.queue.reaper_interval_s)
        self.close()

    def close(self) -> None:
        """Let another reaper be picked at once."""
        if self._connection is not None and self._picked:
            with contextlib.suppress(DBAPIError):  # then Postgres frees it when it sees the connection gone
                self._connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
        self._drop_connection()

    def round(self, now_s: float) -> bool:
        """Make one round and return whether this reaper is the one that was picked."""
        if not self._is_picked():
            self._patience.lost()
            return False
        if self._patience.round(now_s):
            for kind in WorkKind:
                self._expire(kind)
        self._resend()
        return True

    def _is_picked(self) -> bool:
        """Hold the advisory lock on a connection of its own; Postgres frees it when that dies."""
        if self._connection is None:
            self._connection = autocommit(self._engine)
            self._picked = False
        if self._picked:
            self._connection.execute(text("SELECT 1"))
        else:
            self._picked = bool(
                self._connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
            )
        return self._picked

    def _expire(self, kind: WorkKind) -> None:
        messages = leases.requeue_expired(self._engine, kind, self._settings.limits)
        if messages:
            self.expired[kind] += len(messages)
            log.warning("leases ended", work=kind.value, rows=len(messages))
            send(self._messenger, messages)

    def _resend(self) -> None:
        for kind, queue, condition in self._queues():
            try:
                if self._messenger.ready(queue) > 0:
                    continue
                if messages := self._unsent(kind, condition, queue):
                    self.resent[kind] += self._messenger.send(messages)
                    log.warning("messages were gone and are sent again", queue=queue, messages=len(messages))
            except BrokerUnreachableError as error:
                log.warning("nothing is sent again", error=str(error))
                return

    def _queues(self) -> list[tuple[WorkKind, str, str | None]]:
        with self._engine.connect() as connection:
            pools = connection.scalars(_POOLS).all()
        return [
            (WorkKind.CONVERSION, CONVERT_QUEUE, None),
            *((WorkKind.BENCHMARK, benchmark_queue(pool), pool) for pool in pools),
        ]

    def _unsent(self, kind: WorkKind, pool: str | None, queue: str) -> list[Message]:
        queue_settings = self._settings.queue
        parameters = {
            "age": queue_settings.resend_after_s,
            "batch": queue_settings.resend_batch,
            "pool": pool,
        }
        with self._engine.begin() as connection:
            rows = connection.scalars(_unsent_statement(kind), parameters).all()
            return leases.build_messages(connection, kind, rows)

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


_POOLS = text("SELECT DISTINCT pool FROM benchmark WHERE state = 'queued'")


def _unsent_statement(kind: WorkKind) -> TextClause:
    pool = "AND w.pool = :pool" if kind is WorkKind.BENCHMARK else "AND CAST(:pool AS text) IS NULL"
    return text(f"""
SELECT w.id FROM {kind} w JOIN campaign c ON c.id = w.campaign_id
WHERE w.state = 'queued' AND c.state = 'active' AND w.available_at <= now() {pool}
  AND w.sent_at < now() - make_interval(secs => :age)
ORDER BY w.priority DESC, w.created_at LIMIT :batch
""")  # noqa: S608
