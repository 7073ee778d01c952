"""A supervisor in a process of its own, with the embedded servers: `supervisor_owner.py HOME`."""

import sys
from pathlib import Path

from nnlite.local import Supervisor, Worker, local_instance, servers
from nnlite.settings import LocalSettings, Settings

home, program = Path(sys.argv[1]), str(Path(__file__).with_name("event_log_worker.py"))
local = LocalSettings(start_timeout_s=600, stop_timeout_s=10)
settings = Settings(home=home, database_url=None, broker_url=None, local=local, _env_file=None)
workers = [
    Worker(name=name, argv=[sys.executable, "-S", program, str(home), name, obeys])
    for name, obeys in (("orderly", "yes"), ("stubborn", "no"))
]
with servers(settings), Supervisor(local_instance(settings), workers):
    print("up", flush=True)
    sys.stdin.readline()
