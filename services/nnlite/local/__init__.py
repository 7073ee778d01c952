"""Embedded Postgres and Valkey servers, and workers as child processes, on one machine.

Public names only. The server daemon imports this package and keeps it in memory as
long as servers run, so nothing heavy may be imported here.
"""

from nnlite.local.home import LocalError as LocalError
from nnlite.local.home import absolute_home as absolute_home
from nnlite.local.session import Endpoints as Endpoints
from nnlite.local.session import database as database
from nnlite.local.session import endpoints as endpoints
from nnlite.local.session import has_database as has_database
from nnlite.local.session import local_instance as local_instance
from nnlite.local.session import psql_command as psql_command
from nnlite.local.session import servers as servers
from nnlite.local.session import workers_lock as workers_lock
from nnlite.local.supervisor import Supervisor as Supervisor
from nnlite.local.supervisor import Worker as Worker
