"""Reaper: queues rows with an expired lease again, resends messages that Redis has lost, says what has ended.

A loop in the process `nnlite reaper`, not a Celery task, which would wait behind
the very work it must reap. Any number may run; an advisory lock makes one of them
active. Expiring leases needs no Redis; resending fails on its own.
"""

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, Engine, TextClause, text
from sqlalchemy.exc import DBAPIError

from nnlite.db.engine import autocommit, check_schema, first_line
from nnlite.db.schema import DatabaseError, SchemaError
from nnlite.host.health_file import touch_health_file
from nnlite.queue import leases
from nnlite.queue.app import CONVERT_QUEUE, benchmark_queue
from nnlite.queue.messages import BrokerClient, BrokerUnreachableError, Message
from nnlite.results import hooks
from nnlite.settings import Settings
from nnlite.vocabulary import WorkKind
from nnlite.worker.attempt import send

log = structlog.get_logger()

#: Key of the advisory lock that the active reaper holds.
ADVISORY_LOCK = 7202119
#: Campaigns whose hooks run at once; the others wait.
_HOOKS_AT_A_TIME = 4


@dataclass
class GracePeriod:
    """Decides when leases may be expired: not while their owners may have been unable to renew them.

    After a start, an outage of Postgres or a gap between rounds (a suspended machine,
    a paused server), every valid lease looks expired; owners get the time of one lease.
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

    def restart(self) -> None:
        """Begin again: Postgres could not be reached, so owners could not renew either."""
        self._since_s = None
        self._last_s = None


class Reaper:
    """Periodic recovery of the queue; `run` is its loop."""

    def __init__(self, engine: Engine, broker: BrokerClient, settings: Settings) -> None:
        self._engine = engine
        self._broker = broker
        self._settings = settings
        self._grace = GracePeriod(settings.queue.lease_s)
        self._connection: Connection | None = None
        self._locked = False
        #: Threads that run hooks.
        self._saying: list[threading.Thread] = []
        #: Messages that Redis had lost, since the start.
        self.resent: Counter[WorkKind] = Counter()

    @property
    def active(self) -> bool:
        """Whether this reaper is the one that holds the lock."""
        return self._connection is not None and self._locked

    def run(self, stop: threading.Event) -> None:
        """Make a round every `reaper_interval_s`, touching the health file each time.

        Returns once `stop` is set, or when the schema is no longer this version's.
        """
        while not stop.is_set():
            touch_health_file(self._settings.health_file)
            try:
                check_schema(self._engine)
                self.round(time.monotonic())
            except SchemaError as error:
                log.warning(
                    "the schema was changed; this reaper ends, to be started again", reason=str(error)
                )
                break
            except (DatabaseError, DBAPIError) as error:
                self._drop_connection()
                self._grace.restart()
                why = first_line(error) if isinstance(error, DBAPIError) else str(error)
                log.warning("Postgres failed; no lease is expired in this round", error=why)
            stop.wait(self._settings.queue.reaper_interval_s)
        self.close()

    def close(self) -> None:
        """Release the lock, so that another reaper becomes active at once."""
        if self._connection is not None and self._locked:
            with contextlib.suppress(DBAPIError):  # then Postgres frees it when it sees the connection gone
                self._connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
        self._drop_connection()

    def round(self, now_s: float) -> bool:
        """Make one round and return whether this reaper is the active one."""
        if not self._acquire_lock():
            self._grace.restart()
            return False
        if self._grace.round(now_s):
            for kind in WorkKind:
                self._expire(kind)
        self._announce()
        self._resend()
        self._say_ends()
        return True

    def _acquire_lock(self) -> bool:
        """Hold the advisory lock on a dedicated connection; Postgres frees it when that is lost."""
        if self._connection is None:
            self._connection = autocommit(self._engine)
            self._locked = False
        if self._locked:
            self._connection.execute(text("SELECT 1"))
        else:
            self._locked = bool(
                self._connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
            )
        return self._locked

    def _expire(self, kind: WorkKind) -> None:
        messages = leases.requeue_expired(self._engine, kind, self._settings.queue)
        if messages:
            log.warning("leases expired; their rows are queued again", work=kind.value, rows=len(messages))
            send(self._broker, messages)

    def _announce(self) -> None:
        """Send the messages of runs whose pause is over; until then nothing was sent for them."""
        parameters = {"batch": self._settings.queue.resend_batch}
        with self._engine.begin() as connection:
            rows = connection.scalars(_DUE, parameters).all()
            messages = leases.build_messages(connection, WorkKind.BENCHMARK, rows)
        send(self._broker, messages)

    def _say_ends(self) -> None:
        """Run the hooks of campaigns that have ended, without waiting for them, of a few at a time."""
        self._saying = [each for each in self._saying if each.is_alive()]
        if (most := _HOOKS_AT_A_TIME - len(self._saying)) <= 0:
            return
        for name in hooks.take_ended(self._engine, self._settings.hooks, most=most):
            self._saying.append(threading.Thread(target=self._run_hooks, args=(name,), name="hooks"))
            self._saying[-1].start()

    def _run_hooks(self, name: str) -> None:
        try:
            problem = hooks.run_hooks(self._engine, name, self._settings.hooks)
        except DBAPIError as error:
            problem = f"Postgres failed: {first_line(error)}"
        if problem:
            log.warning("hooks of an ended campaign failed", campaign=name, problem=problem)
        else:
            log.info("campaign ended", campaign=name)

    def _resend(self) -> None:
        for kind, queue, pool in self._queues():
            try:
                if self._broker.ready(queue) > 0:
                    continue
                if messages := self._unsent(kind, pool):
                    self.resent[kind] += self._broker.send(messages)
                    log.warning("messages were lost and are sent again", queue=queue, messages=len(messages))
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

    def _unsent(self, kind: WorkKind, pool: str | None) -> list[Message]:
        queue = self._settings.queue
        parameters = {"age": queue.resend_after_s, "batch": queue.resend_batch, "pool": pool}
        with self._engine.begin() as connection:
            rows = connection.scalars(_unsent_statement(kind), parameters).all()
            return leases.build_messages(connection, kind, rows)

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


_POOLS = text("SELECT DISTINCT pool FROM benchmark WHERE state = 'queued'")


# A run that follows another is added with a pause: its row is available no earlier than it says it was sent.
_DUE = text("""
SELECT w.id FROM benchmark w JOIN campaign c ON c.id = w.campaign_id
WHERE w.state = 'queued' AND w.run > 1 AND w.attempt = 0 AND c.state = 'active'
  AND w.available_at <= now() AND w.sent_at <= w.available_at
ORDER BY w.priority DESC, w.available_at LIMIT :batch
""")


def _unsent_statement(kind: WorkKind) -> TextClause:
    pool = "AND w.pool = :pool" if kind is WorkKind.BENCHMARK else "AND CAST(:pool AS text) IS NULL"
    return text(f"""
SELECT w.id FROM {kind} w JOIN campaign c ON c.id = w.campaign_id
WHERE w.state = 'queued' AND c.state = 'active' AND w.available_at <= now() {pool}
  AND w.sent_at < now() - make_interval(secs => :age)
ORDER BY w.priority DESC, w.created_at LIMIT :batch
""")  # noqa: S608
