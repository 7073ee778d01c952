"""A worker that writes an event log: `event_log_worker.py HOME NAME OBEYS`, without site-packages.

It writes when it starts and when it is asked to stop; then it ends ("yes"), or does not ("no"). It has a
child that goes on; "together" has none, and ends when another one has been asked, too.
"""

import os
import pathlib
import signal
import sys
import time

home, name, obeys = sys.argv[1:]
event_log = os.open(pathlib.Path(home, "event_log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def asked(*_):
    os.write(event_log, f"{name} asked\n".encode())
    while obeys == "together" and pathlib.Path(home, "event_log").read_text().count(" asked") < 2:
        time.sleep(0.01)
    if obeys != "no":
        os.write(event_log, f"{name} ended\n".encode())
        os._exit(0)


signal.signal(signal.SIGTERM, asked)
child = obeys == "together" or os.fork()
if child == 0:
    os.setpgid(0, 0)  # as a conversion does
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(event_log, f"{name} {'runs' if child else 'has a child'} {os.getpid()}\n".encode())
while True:  # a signal that comes just before a sleep is handled after it
    time.sleep(0.5)
