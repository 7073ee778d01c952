"""A worker that does nothing, with its watchdog; prints `look` at each look, and the watchdog's PID."""

import argparse
import os
import signal

from nnlite.queue.messages import BrokerUnreachableError
from nnlite.worker import watchdog
from nnlite.worker.watchdog import Watchdog, WorkerLiveness

parser = argparse.ArgumentParser()
parser.add_argument("--ready", action="store_true", help="it consumes")
parser.add_argument("--on-sigterm", choices=("default", "ignore", "exit"), default="default")
parser.add_argument("--away-after", type=int, help="looks after which the broker cannot be reached any more")
parser.add_argument("--stop-timeout-s", type=float, required=True)
options = parser.parse_args()

watchdog._CHECK_S = 0.05
liveness = WorkerLiveness()
looks = 0


def queue_has_work():
    global looks
    looks += 1
    print("look", flush=True)
    if options.away_after is not None and looks > options.away_after:
        raise BrokerUnreachableError("away")
    return True


handlers = {"default": signal.SIG_DFL, "ignore": signal.SIG_IGN, "exit": lambda *_: os._exit(42)}
signal.signal(signal.SIGTERM, handlers[options.on_sigterm])
pid = Watchdog(
    liveness=liveness,
    queue_has_work=queue_has_work,
    idle_limit_s=0.2,
    stop_timeout_s=options.stop_timeout_s,
).start()
if options.ready:
    liveness.ready()
print(pid, flush=True)
while True:
    signal.pause()
