"""Runs Flower on the broker, behind a password and read-only.

Flower runs in this process, so that neither password passes through arguments,
the environment or an options file. Its buttons that act on workers and tasks are
disabled: the state is in Postgres, and `nnlite` acts on it.
"""

import logging
from pathlib import Path
from typing import Final

import structlog
from flower.app import Flower
from flower.command import extract_settings
from flower.options import default_options
from flower.urls import settings as site
from tornado.ioloop import IOLoop, PeriodicCallback

from nnlite.errors import NnliteError
from nnlite.host.health_file import TOUCH_EVERY_S, touch_health_file
from nnlite.host.signals import on_stop
from nnlite.queue.app import create_app
from nnlite.settings import Settings
from nnlite.settings.passwords import password_in

log = structlog.get_logger()

#: Columns of the list of tasks.
_COLUMNS: Final = "name,kwargs,state,result,received,started,runtime,worker"
_SAVE_EVERY_MS: Final = 60_000


def serve(
    broker_url: str,
    settings: Settings,
    *,
    address: str,
    port: int,
    user: str,
    password_file: Path,
    state_file: Path | None,
) -> None:
    """Serve Flower until SIGTERM or SIGINT.

    Args:
        port: 0: any free one.
        state_file: what Flower keeps across restarts; None: nothing.

    Raises:
        NnliteError: the password, the state file or the address cannot be used.
    """
    options = default_options
    options.address, options.port = address, port
    options.basic_auth = [f"{user}:{_password(password_file)}"]
    options.tasks_columns = _COLUMNS
    options.read_only = True
    if state_file is not None:
        _check_writable(state_file)
        options.persistent, options.db = True, str(state_file)
        options.state_save_interval = _SAVE_EVERY_MS
    extract_settings()
    # One line for every request; refused and failed ones are warnings.
    logging.getLogger("tornado.access").setLevel(logging.WARNING)
    flower = Flower(capp=create_app(broker_url, settings), options=options, **site)
    try:
        bound = flower.start_http_server()
    except OSError as error:
        raise NnliteError(f"{address}:{port}: {error.strerror}; choose --address and --port") from error
    on_stop(lambda: IOLoop.current().add_callback_from_signal(flower.stop))
    # From Flower's own loop: when that stalls, the health file gets old.
    PeriodicCallback(lambda: touch_health_file(settings.health_file), TOUCH_EVERY_S * 1000).start()
    log.info("ready", url=f"http://{address}:{bound}", user=user)
    flower.start()


def _password(file: Path) -> str:
    password = password_in(file, f"--password-file {file}")
    if not password.isascii():
        raise NnliteError(f"--password-file {file}: Flower compares ASCII only; choose another")
    return password


def _check_writable(file: Path) -> None:
    """Fail early: Flower itself would run without its state and report that when it stops."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_name(f"{file.name}.tmp").touch()
    except OSError as error:
        raise NnliteError(f"--state {file}: {error.strerror}; name a file that can be written") from error
