"""CPU seconds of listings and helps of an installation that runs, from the start of Python to its end.

At the end a campaign is submitted that no worker converts, and `status` says so.
Of several starts the cheapest counts: other load on the machine makes them dearer only. The anchor is
what the libraries that every listing needs take to import.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from nnlite.db.engine import upgrade
from nnlite.local import servers
from nnlite.settings import Settings, load_settings

COMMANDS: Final = (
    "--version", "--help", "status", "results", "failures", "devices", "profile", "sustained", "effects",
    "atlas", "ps", "logs", "run --help", "submit --help", "results --help", "models",
)  # fmt: skip
STARTS: Final = 5
#: Run with a campaign that waits, which is named so.
WAITING: Final = ("status", "describe waits", "rank waits")
_NNLITE: Final = (sys.executable, "-m", "nnlite.cli")
_LIBRARIES: Final = (
    sys.executable,
    "-c",
    "import psycopg2.extras, rich.table, typer; from pydantic import TypeAdapter",
)


def run(commands: tuple[str, ...] = COMMANDS, starts: int = STARTS) -> dict[str, Any]:
    """Return the CPU seconds of each command; everything is made in a home of its own and removed."""
    with tempfile.TemporaryDirectory(prefix="nnlite-benchmark-") as folder:
        Path(folder).chmod(0o755)
        settings = Settings(home=Path(folder), database_url=None, broker_url=None, _env_file=None)
        with servers(settings) as endpoints:
            upgrade(endpoints.database_url)
            environment = {name: text for name, text in os.environ.items() if not name.startswith("NNLITE_")}
            environment |= {
                "NNLITE_HOME": folder,
                "NNLITE_DATABASE_URL": endpoints.database_url,
                "NNLITE_BROKER_URL": endpoints.broker_url,
                "NNLITE_LEMUR": str(load_settings().lemur),
            }
            libraries_s = _cheapest_s(_LIBRARIES, environment, starts)
            cpu_s = {
                command: _cheapest_s((*_NNLITE, *command.split()), environment, starts)
                for command in commands
            }
            _cpu_s((*_NNLITE, "submit", "--limit", "1", "--name", "waits"), environment)
            cpu_s |= {
                f"{command} (it waits)": _cheapest_s((*_NNLITE, *command.split()), environment, starts)
                for command in WAITING
            }
    return {
        "cpu_s": {command: round(seconds, 2) for command, seconds in cpu_s.items()},
        "libraries_cpu_s": round(libraries_s, 2),
        "dearest_to_libraries_ratio": round(max(cpu_s.values()) / libraries_s, 2),
    }


def _cheapest_s(command: tuple[str, ...], environment: dict[str, str], starts: int) -> float:
    return min(_cpu_s(command, environment) for _ in range(starts))


def _cpu_s(command: tuple[str, ...], environment: dict[str, str]) -> float:
    """Return the CPU seconds of a command whose output nobody reads.

    Raises:
        RuntimeError: it failed.
    """
    nowhere = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in range(3)]
    pid = os.posix_spawn(command[0], command, environment, file_actions=nowhere)
    _, status, used = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime
