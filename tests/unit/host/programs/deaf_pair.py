"""A process and its child, neither of which listens to SIGTERM; prints the child's PID. No site-packages."""

import os
import signal
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    print(child, flush=True)
time.sleep(600)
