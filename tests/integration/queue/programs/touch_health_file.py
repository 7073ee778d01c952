"""Run a worker until its health file was touched twice: `touch_health_file.py BROKER_URL`.

Prints whether the main thread touched it, and the worker's exit codes.
"""

import json
import sys
import threading

from consuming import consume

from nnlite.worker import celery_worker

touches = []


def touched(file):
    touches.append(threading.current_thread() is threading.main_thread())
    if len(touches) == 2:
        celery_worker.stop_consuming()


celery_worker.touch_health_file = touched
codes = [consume(sys.argv[1], lambda: None)]
print(json.dumps([all(touches), codes]), file=sys.__stdout__)
