"""Celery's worker is run again and again in one process: nothing piles up, and a stop is always heeded."""

import subprocess
import sys

from integration.conftest import Cluster

PROCESS = """
import gc, json, os, signal, sys, threading
import psutil
from celery import signals
from nnlite.local import Endpoints
from nnlite.queue.watchdog import Vitals
from nnlite.queue.worker import WorkerPlan, end_consumption, run_worker
from nnlite.settings import Settings
from nnlite.vocabulary import WorkKind

broker_url, times = sys.argv[1], int(sys.argv[2])
settings, endpoints = Settings(_env_file=None), Endpoints(database_url="", broker_url=broker_url)
vitals, stop, me = Vitals(), threading.Event(), psutil.Process()
plan = WorkerPlan(
    kind=WorkKind.BENCHMARK, node="again@here", queue="benchmark.again", pool="threads", concurrency=1,
    deadline_s=10, station=lambda: None, perform=None, on_stop=stop.set,
)

def consume(at_ready):
    def ready(**_):
        at_ready()
    signals.worker_ready.connect(ready, weak=False)
    try:
        return run_worker(plan, endpoints, settings, vitals)
    finally:
        signals.worker_ready.disconnect(ready)

def held():
    gc.collect()
    return {"fds": me.num_fds(), "threads": me.num_threads(), "children": len(me.children())}

codes = [consume(end_consumption) for _ in range(2)]
before = held()
codes += [consume(end_consumption) for _ in range(times - 2)]
after = held()
codes.append(consume(lambda: os.kill(os.getpid(), signal.SIGTERM)))
stopped = stop.is_set() and vitals.stopping
codes.append(consume(lambda: os._exit(3)))
print(json.dumps([before == after or [before, after], stopped, codes]), file=sys.__stdout__)
"""


def test_ten_times_in_one_process_and_a_stop_at_the_end(cluster: Cluster) -> None:
    url, times = cluster.settings.broker_url, 10
    ran = subprocess.run(
        [sys.executable, "-c", PROCESS, url, str(times)], capture_output=True, text=True, timeout=120
    )
    assert ran.stdout.splitlines()[-1:] == [f"[true, true, {[0] * (times + 2)}]"], ran.stderr[-3000:]
