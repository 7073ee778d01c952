"""Embedded Postgres and Valkey servers, and workers as child processes, on one machine.

Public names only. The server daemon imports this package and keeps it in memory as
long as servers run, so nothing heavy may be imported here.
"""

from nnlite.host.locks import LockTimeout
from nnlite.local.home import LocalError, absolute_home
from nnlite.local.session import (
    Endpoints,
    ServersNotRunning,
    database,
    endpoints,
    has_database,
    local_instance,
    psql_command,
    servers,
    workers_lock,
)
from nnlite.local.state_file import RecordError
from nnlite.local.supervisor import Supervisor, Worker, WorkerStatus

__all__ = [
    "Endpoints",
    "LocalError",
    "LockTimeout",
    "RecordError",
    "ServersNotRunning",
    "Supervisor",
    "Worker",
    "WorkerStatus",
    "absolute_home",
    "database",
    "endpoints",
    "has_database",
    "local_instance",
    "psql_command",
    "servers",
    "workers_lock",
]
