"""Where metrics are served, and the process beside a worker that serves them.

A worker that forks must have no threads, so its metrics are served by a small
process of its own. The worker and its pool write into files of one folder,
which lies in memory where there is some and goes with the worker.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnlite.errors import NnliteError
from nnlite.queue.meter import FOLDER_VARIABLE
from nnlite.settings import PREFIX, Settings
from nnlite.settings.groups import MetricsSettings

_MEMORY = Path("/dev/shm")  # noqa: S108 (only a private folder is made in it)


class MetricsError(NnliteError):
    """The metrics cannot be served as the settings say."""


def listen(settings: MetricsSettings) -> socket.socket:
    """Return a socket that listens where the settings say.

    Raises:
        MetricsError: the address is not of this machine, or its port is taken.
    """
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(
            settings.address, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return socket.create_server((str(address[0]), settings.port), family=family)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (")[0].lower()
        raise MetricsError(
            f"{PREFIX}METRICS__PORT={settings.port} on {PREFIX}METRICS__ADDRESS={settings.address}: {why}; "
            "name an address of this machine and a port that is free"
        ) from error


def disks(settings: Settings) -> dict[str, Path]:
    """Return the folders whose disks must not fill up; artifacts only where they lie in a folder."""
    artifacts = settings.artifacts_url or str(settings.home / "artifacts")
    return {"home": settings.home} | ({} if "://" in artifacts else {"artifacts": Path(artifacts)})


@contextmanager
def serving_worker(settings: Settings) -> Iterator[None]:
    """Serve what this process and all that it forks count, while the block runs; off: do nothing.

    Raises:
        MetricsError: the port cannot be had.
    """
    if not settings.metrics.port:
        yield
        return
    with listen(settings.metrics) as listener:
        files = _folder(settings.home)
        server = _start(listener, files, settings)
    os.environ[FOLDER_VARIABLE] = str(files)
    try:
        yield
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(files, ignore_errors=True)


def _folder(home: Path) -> Path:
    """Make the folder of this start's files, which nobody else can read."""
    place = _MEMORY
    if not os.access(place, os.W_OK):
        place = home / "metrics"
        place.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="nnlite-metrics-", dir=place))


def _start(listener: socket.socket, files: Path, settings: Settings) -> subprocess.Popen[bytes]:
    arguments = ["--listener", listener.fileno(), "--worker", os.getpid(), "--files", files]
    for disk in disks(settings).items():
        arguments += ["--disk", *disk]
    return subprocess.Popen(
        [sys.executable, "-I", "-m", "nnlite.metrics", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        pass_fds=[listener.fileno()],
        env={},  # nothing of ours: it holds credentials
    )
