"""The Celery application: queues, priorities and configuration, the same for senders and workers.

A message says only "row X may be ready". Nothing here imports tasks: workers
register theirs by name.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from nnlite.settings import Settings
from nnlite.vocabulary import WorkKind

if TYPE_CHECKING:  # takes longer to import than most commands take
    from celery import Celery

#: Priorities of rows: larger is sooner.
PRIORITIES = range(10)
#: Separates queue and priority in the names of Redis lists: kombu's default, so that Flower and the `celery`
#: command, which do not have our settings, find them.
SEPARATOR = "\x06\x16"
CONVERT_QUEUE = "convert"
#: Begins the names of workers' connections to Redis.
_CLIENT: Final = "nnlite:"


def benchmark_queue(pool: str) -> str:
    """Return the name of the queue of a pool of interchangeable devices."""
    return f"benchmark.{pool}"


def broker_priority(priority: int) -> int:
    """Return the priority in Redis, where 0 is served first, of a row's, where 9 is."""
    return PRIORITIES[-1] - priority


def priority_lists(queue: str) -> list[str]:
    """Return the names of the Redis lists that hold the ready messages of `queue`, most urgent first."""
    return [queue if step == 0 else f"{queue}{SEPARATOR}{step}" for step in PRIORITIES]


def task_name(kind: WorkKind) -> str:
    """Return the Celery name of the task that does work of `kind`."""
    return {WorkKind.CONVERSION: "nnlite.convert", WorkKind.BENCHMARK: "nnlite.benchmark"}[kind]


#: Names of a message's `display_args`: the arguments of its task after the row, shown in Flower.
DISPLAY_ARGS = {WorkKind.CONVERSION: ("model",), WorkKind.BENCHMARK: ("model", "pool")}


def client_name(queues: Iterable[str]) -> str:
    """Return the name of a worker's connections to Redis: its queues, in the characters that Redis allows."""
    return _CLIENT + ",".join(quote(queue, safe="") for queue in queues)


def queues_of_client(name: str) -> list[str]:
    """Return the queues that the name of a connection says; none if it is not a worker's."""
    return [*map(unquote, name.removeprefix(_CLIENT).split(","))] if name.startswith(_CLIENT) else []


def tls_of(broker_url: str) -> dict[str, str]:
    """Return how a `rediss://` URL says that its server is verified, in redis-py's words; else nothing."""
    parts = urlsplit(broker_url)
    named = {name: value for name, value in parse_qsl(parts.query) if name.startswith("ssl_")}
    return {"ssl_cert_reqs": "required"} | named if parts.scheme == "rediss" else {}


def create_app(broker_url: str, settings: Settings, queues: Iterable[str] = ()) -> "Celery":
    """Return the Celery application on `broker_url`; a worker consumes `queues`."""
    from celery import Celery
    from kombu import Exchange, Queue

    queue = settings.queue
    queues = list(queues)
    timeout_s = settings.broker_timeout_s
    options = {
        "visibility_timeout": queue.visibility_timeout_s,
        "priority_steps": list(PRIORITIES),
        "queue_order_strategy": "priority",
        "socket_timeout": max(timeout_s, 30),
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 25,
    } | ({"client_name": client_name(queues)} if queues else {})
    app = Celery("nnlite", broker=broker_url, set_as_current=False)
    app.conf.update(
        broker_use_ssl=tls_of(broker_url) or False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        broker_transport_options=options,
        result_backend_transport_options={"visibility_timeout": queue.visibility_timeout_s},
        visibility_timeout=queue.visibility_timeout_s,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_serializer="json",
        accept_content=["json"],
        worker_send_task_events=True,
        task_send_sent_event=False,
        worker_enable_remote_control=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_consumer="nnlite.worker.consumer:BatchingConsumer",
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_proc_alive_timeout=60,
        enable_utc=True,
        task_queues=[Queue(name, Exchange(""), routing_key=name) for name in queues] or None,
        task_create_missing_queues=True,
    )
    return app
