"""`python -m nnlite.metrics`: the process that serves what one worker counts; `serving` starts it.

It knows no settings and no credentials, and ends with the worker, whose files
it then takes away.
"""

import argparse
import os
import shutil
import signal
import socket
from pathlib import Path

from prometheus_client import CollectorRegistry

from nnlite.host.fork import die_with_parent
from nnlite.metrics.collectors import DiskCollector, WorkerCollector
from nnlite.metrics.http_server import http_server

#: The kernel sends it when the worker has ended; nobody else does.
_WORKER_ENDED = signal.SIGUSR1


def main() -> None:
    """Serve until the worker ends."""
    parser = argparse.ArgumentParser(prog="python -m nnlite.metrics")
    parser.add_argument("--listener", type=int, required=True)
    parser.add_argument("--worker", type=int, required=True)
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--disk", nargs=2, action="append", default=[])
    arguments = parser.parse_args()

    def end(*_: object) -> None:
        shutil.rmtree(arguments.files, ignore_errors=True)
        os._exit(0)

    # Sent to the whole session or unit, they are the worker's to heed: it is watched while it stops.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(_WORKER_ENDED, end)
    die_with_parent(arguments.worker, _WORKER_ENDED)
    registry = CollectorRegistry()
    registry.register(WorkerCollector(arguments.files, arguments.worker))
    registry.register(DiskCollector({name: Path(folder) for name, folder in arguments.disk}))
    with socket.socket(fileno=arguments.listener) as listener:
        http_server(listener, registry).serve_forever()


if __name__ == "__main__":
    main()
