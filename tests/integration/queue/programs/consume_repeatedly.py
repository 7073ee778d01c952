"""Run a worker several times and print whether anything leaked: `consume_repeatedly.py BROKER_URL TIMES`."""

import gc
import json
import os
import signal
import sys

import psutil
from consuming import consume, liveness, stop

from nnlite.worker.celery_worker import stop_consuming

url, times = sys.argv[1], int(sys.argv[2])
me = psutil.Process()


def held():
    gc.collect()
    return {"fds": me.num_fds(), "threads": me.num_threads(), "children": len(me.children())}


codes = [consume(url, stop_consuming) for _ in range(2)]
before = held()
codes += [consume(url, stop_consuming) for _ in range(times - 2)]
after = held()
codes.append(consume(url, lambda: os.kill(os.getpid(), signal.SIGTERM)))
stopped = stop.is_set() and liveness.stopping
codes.append(consume(url, lambda: os._exit(3)))
print(json.dumps([before == after or [before, after], stopped, codes]), file=sys.__stdout__)
