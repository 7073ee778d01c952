"""A process with a child that ignores SIGTERM; prints both PIDs and sleeps."""

import os
import signal
import time

reader, writer = os.pipe()
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(writer, b"up")
else:
    os.read(reader, 2)
    print(os.getpid(), child, flush=True)
time.sleep(3600)
