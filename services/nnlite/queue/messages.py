"""Sending hints: one Celery message per workable row, many in one round trip.

`Task.apply_async` costs a round trip and 1.6 ms each; a campaign has thousands.
So messages of Celery's protocol 2 are built here as kombu's Redis transport
stores them, and pushed in one pipeline. An integration test compares them with
what `apply_async` sends.
"""

import base64
import os
import socket
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from redis import Redis, RedisError
from redis.connection import parse_url

from nnlite.errors import NnliteError
from nnlite.queue.app import broker_priority, priority_lists, task_name
from nnlite.vocabulary import WorkKind

_EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
#: Messages in one pipeline: about a megabyte.
_BATCH = 1000


class BrokerUnreachableError(NnliteError):
    """Redis does not answer; rows are safe in Postgres, and the reaper sends their messages later."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A hint that a row may be workable."""

    kind: WorkKind
    row_id: uuid.UUID
    #: For people who watch Flower, as `LABELS` names it.
    label: tuple[str, ...]
    queue: str
    #: Larger is sooner, 0-9.
    priority: int
    #: Seconds until the message may be worked on.
    countdown_s: float = 0.0


class BrokerClient:
    """A connection to the broker for sending, made when first used.

    Args:
        broker_url: of Redis.
        timeout_s: longest wait for a connection and for an answer.

    Raises:
        NnliteError: the URL is not one of Redis.
    """

    def __init__(self, broker_url: str, timeout_s: float) -> None:
        try:
            parse_url(broker_url)  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise NnliteError(f"NNLITE_BROKER_URL: {error}; write redis://:PASSWORD@HOST:PORT/0") from error
        self._url = broker_url
        self._timeout_s = timeout_s
        self._redis: Redis | None = None
        self._origin = f"{os.getpid()}@{socket.gethostname()}"

    @property
    def redis(self) -> Redis:
        """The connection, made when first asked for."""
        if self._redis is None:
            self._redis = Redis.from_url(
                self._url, socket_timeout=self._timeout_s, socket_connect_timeout=self._timeout_s
            )
        return self._redis

    def send(self, messages: Iterable[Message]) -> int:
        """Send `messages` in their order and return how many they were.

        Raises:
            BrokerUnreachableError: Redis did not take them all; sending again does no harm.
        """
        batch = list(messages)
        try:
            for start in range(0, len(batch), _BATCH):
                self._push(batch[start : start + _BATCH])
        except RedisError as error:
            raise BrokerUnreachableError(f"Redis cannot be reached: {error}") from error
        return len(batch)

    def ready(self, queue: str) -> int:
        """Return how many messages of `queue` wait for a worker; those in a worker's hands do not count.

        Raises:
            BrokerUnreachableError: Redis does not answer.
        """
        try:
            pipeline = self.redis.pipeline(transaction=False)
            for name in priority_lists(queue):
                pipeline.llen(name)
            return sum(pipeline.execute())
        except RedisError as error:
            raise BrokerUnreachableError(f"Redis cannot be reached: {error}") from error

    def close(self) -> None:
        """Close the connection; the next use makes a new one."""
        if self._redis is not None:
            self._redis.close()
            self._redis = None

    def _push(self, batch: list[Message]) -> None:
        pipeline = self.redis.pipeline(transaction=False)
        for message in batch:
            priority = broker_priority(message.priority)
            pipeline.lpush(priority_lists(message.queue)[priority], encode(message, self._origin))
        pipeline.execute()


def encode(message: Message, origin: str) -> bytes:
    """Return `message` as kombu's Redis transport stores a task of Celery's protocol 2."""
    task_id = str(uuid.uuid4())
    args = (str(message.row_id), *message.label)
    eta = datetime.now(UTC) + timedelta(seconds=message.countdown_s) if message.countdown_s else None
    headers: dict[str, Any] = {
        "lang": "py",
        "task": task_name(message.kind),
        "id": task_id,
        "shadow": None,
        "eta": eta.isoformat() if eta else None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": task_id,
        "parent_id": None,
        "argsrepr": repr(args),
        "kwargsrepr": "{}",
        "origin": origin,
        "ignore_result": True,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    return orjson.dumps(
        {
            "body": base64.b64encode(orjson.dumps([args, {}, _EMBEDDED])).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": {
                "correlation_id": task_id,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": message.queue},
                "priority": broker_priority(message.priority),
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )
