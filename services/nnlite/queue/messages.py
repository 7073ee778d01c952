"""Broker client: sends one Celery message per queued row, thousands in one round trip.

`Task.apply_async` costs a round trip and 1.6 ms for each message. So a message is
made once by `app.amqp.as_task_v2`, as a template; ids and arguments are filled in
per row, and all are pushed in one pipeline, laid out as kombu's Redis transport
does. An integration test compares them with what `apply_async` sends.
"""

import base64
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import orjson
from redis import Redis, RedisError, ResponseError
from redis.client import PubSub
from redis.connection import parse_url

from nnlite.errors import NnliteError, Unavailable
from nnlite.queue.app import broker_priority, priority_lists, queues_of_client, task_name, tls_of
from nnlite.vocabulary import WorkKind

#: Channel of the ends of attempts.
_ENDS: Final = "nnlite.ends"
#: Messages in one pipeline: about a megabyte.
_BATCH: Final = 1000
#: Celery's workers send an event every two seconds: a client of which nothing was heard for so many seconds
#: belongs to a machine that went away without a word.
_SILENT_S: Final = 60
#: Parameters of a `rediss://` URL that name files.
_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


class BrokerUnreachableError(Unavailable):
    """Redis does not answer; rows are safe in Postgres, and the reaper sends their messages later."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """Wake-up message: a row may be ready for a worker."""

    kind: WorkKind
    row_id: uuid.UUID
    #: Arguments that only people read, in Flower: those that `DISPLAY_ARGS` names.
    display_args: tuple[str, ...]
    queue: str
    #: Larger is sooner, 0-9.
    priority: int
    #: Seconds until a worker may take the message.
    countdown_s: float = 0.0


@contextmanager
def _explained() -> Iterator[None]:
    """Raise BrokerUnreachableError for every error of Redis inside the block."""
    try:
        yield
    except RedisError as error:
        raise BrokerUnreachableError(f"Redis cannot be reached: {error}") from error


class BrokerClient:
    """Connection to Redis for sending, opened on first use.

    Raises:
        NnliteError: the URL is not one of Redis.
    """

    def __init__(self, broker_url: str, timeout_s: float) -> None:
        try:
            parse_url(broker_url)  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise NnliteError(f"NNLITE_BROKER_URL: {error}; write redis://:PASSWORD@HOST:PORT/0") from error
        for name, value in tls_of(broker_url).items():
            if name in _TLS_FILES and not os.access(value, os.R_OK):
                hint = "name a file that this account may read"
                raise NnliteError(f"NNLITE_BROKER_URL: {name}={value} cannot be read; {hint}")
        self._url = broker_url
        self._timeout_s = timeout_s
        self._redis: Redis | None = None

    @property
    def redis(self) -> Redis:
        """The connection, opened on first use."""
        if self._redis is None:
            self._redis = Redis.from_url(
                self._url, socket_timeout=self._timeout_s, socket_connect_timeout=self._timeout_s
            )
        return self._redis

    def send(self, messages: Iterable[Message]) -> int:
        """Send `messages` in their order and return their number.

        Raises:
            BrokerUnreachableError: Redis did not take them all; sending again does no harm.
        """
        batch = list(messages)
        with _explained():
            for start in range(0, len(batch), _BATCH):
                pipeline = self.redis.pipeline(transaction=False)
                for message in batch[start : start + _BATCH]:
                    lists = priority_lists(message.queue)
                    pipeline.lpush(lists[broker_priority(message.priority)], _encode(message))
                pipeline.execute()
        return len(batch)

    def ready(self, queue: str) -> int:
        """Return how many messages of `queue` wait for a worker; those that a worker holds do not count.

        Raises:
            BrokerUnreachableError: Redis does not answer.
        """
        with _explained():
            pipeline = self.redis.pipeline(transaction=False)
            for name in priority_lists(queue):
                pipeline.llen(name)
            return sum(pipeline.execute())

    def served_queues(self) -> frozenset[str]:
        """Return the queues that living workers consume, as the names of their connections say.

        Raises:
            BrokerUnreachableError: Redis does not answer, or its account may not list clients.
        """
        with _explained():
            try:
                clients = self.redis.client_list()
            except ResponseError as error:
                raise BrokerUnreachableError(f"Redis does not say which workers run: {error}") from error
        database = str(self.redis.get_connection_kwargs().get("db", 0))
        return frozenset(
            queue
            for client in clients
            if client["db"] == database and int(client["idle"]) < _SILENT_S
            for queue in queues_of_client(client["name"])
        )

    def announce_end(self) -> None:
        """Wake those who wait for the ends of attempts; nobody depends on it."""
        with suppress(RedisError):
            self.redis.publish(_ENDS, b"")

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        if self._redis is not None:
            self._redis.close()
            self._redis = None


class EndedAttempts:
    """Waits for the end of any attempt, as workers announce it: to look again soon, not often."""

    def __init__(self, broker: BrokerClient) -> None:
        """Connect at the first wait, and never again once Redis was lost."""
        self._broker = broker
        self._subscription: PubSub | None = None
        self._lost = False

    def wait(self, timeout_s: float) -> bool:
        """Wait until an attempt ends, but at most `timeout_s`; return whether one has ended."""
        deadline_s = time.monotonic() + timeout_s
        try:
            while not self._lost and (left_s := deadline_s - time.monotonic()) > 0:
                if self._heard(left_s):
                    while self._heard(0):  # of several that ended one is enough
                        pass
                    return True
        except RedisError:
            self._lost = True
            self.close()
        time.sleep(max(0.0, deadline_s - time.monotonic()))
        return False

    def close(self) -> None:
        """Close the connection."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def _heard(self, timeout_s: float) -> bool:
        if self._subscription is None:
            self._subscription = self._broker.redis.pubsub(  # type: ignore[no-untyped-call]
                ignore_subscribe_messages=True
            )
            self._subscription.subscribe(_ENDS)
        return self._subscription.get_message(timeout=timeout_s) is not None


def _encode(message: Message) -> bytes:
    """Return `message` as kombu's Redis transport stores a task."""
    template = _template(message.kind)
    _, kwargs, embed = template.body
    task_id = str(uuid.uuid4())
    args = (str(message.row_id), *message.display_args)
    eta = datetime.now(UTC) + timedelta(seconds=message.countdown_s) if message.countdown_s else None
    headers = template.headers | {
        "id": task_id,
        "root_id": task_id,
        "argsrepr": repr(args),
        "eta": eta.isoformat() if eta else None,
    }
    properties = template.properties | {
        "correlation_id": task_id,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": message.queue},
        "priority": broker_priority(message.priority),
        "body_encoding": "base64",
        "delivery_tag": str(uuid.uuid4()),
    }
    return orjson.dumps(
        {
            "body": base64.b64encode(orjson.dumps([args, kwargs, embed])).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": properties,
        }
    )


@cache
def _template(kind: WorkKind) -> Any:
    """Return Celery's message of a task without an id and arguments."""
    from celery import Celery

    with Celery("nnlite", set_as_current=False) as app:
        return app.amqp.as_task_v2("", task_name(kind), args=(), kwargs={}, ignore_result=True)
