"""Messages in Redis equal those of `apply_async` and are served by priority."""

import base64
import uuid

import orjson
import pytest
from celery import Celery
from kombu import Queue

from integration.conftest import Cluster
from nnlite.queue.app import create_app, priority_lists
from nnlite.queue.messages import BrokerClient, BrokerUnreachableError, Message
from nnlite.vocabulary import WorkKind


@pytest.fixture
def app(cluster: Cluster, broker_url: str) -> Celery:
    app = create_app(broker_url, cluster.settings, ["convert"])
    yield app
    app.close()


def message(label: str = "ResNet", priority: int = 5, countdown_s: float = 0.0) -> Message:
    return Message(
        kind=WorkKind.CONVERSION,
        row_id=uuid.uuid4(),
        display_args=(label,),
        queue="convert",
        priority=priority,
        countdown_s=countdown_s,
    )


def pop(cluster: Cluster, priority: int = 5) -> dict:
    return orjson.loads(cluster.broker.redis.rpop(priority_lists("convert")[9 - priority]))


def shape(value: object) -> object:
    """A value with its leaves replaced by their types."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value]
    return type(value).__name__


@pytest.mark.parametrize("countdown_s", [0.0, 30.0])
def test_a_message_is_what_apply_async_sends(cluster: Cluster, app: Celery, countdown_s: float) -> None:
    ours = message(countdown_s=countdown_s)

    @app.task(name="nnlite.convert", ignore_result=True)
    def convert(row: str, model: str) -> None: ...

    convert.apply_async(
        (str(ours.row_id), "ResNet"), queue="convert", priority=4, countdown=countdown_s or None
    )
    theirs = pop(cluster)
    cluster.broker.send([ours])
    sent = pop(cluster)
    assert base64.b64decode(sent["body"]) == base64.b64decode(theirs["body"]).replace(b", ", b",").replace(
        b": ", b":"
    )
    assert shape(sent) == shape(theirs)
    for volatile in ("id", "root_id", "origin", "eta"):
        sent["headers"].pop(volatile)
        theirs["headers"].pop(volatile)
    assert sent["headers"] == theirs["headers"]
    assert sent["properties"]["priority"] == theirs["properties"]["priority"]


def test_larger_priorities_are_served_sooner_and_equal_ones_in_order(cluster: Cluster, app: Celery) -> None:
    cluster.broker.send([message("a", 5), message("b", 0), message("c", 9), message("d", 5)])
    received = []
    with app.connection_for_read() as connection, connection.channel() as channel:
        queue = Queue("convert", channel=channel)
        while found := queue.get(no_ack=True):
            received.append(found.decode()[0][1])
    assert received == ["c", "a", "d", "b"]


def test_ready_counts_all_priorities(cluster: Cluster) -> None:
    cluster.broker.send([message(priority=priority) for priority in (0, 3, 5, 9)])
    assert cluster.ready() == 4


def test_an_unreachable_broker_is_an_error_of_its_own(cluster: Cluster) -> None:
    with pytest.raises(BrokerUnreachableError, match="cannot be reached"):
        BrokerClient("redis://127.0.0.1:1/0", 0.2).send([message()])
