"""The daemon of a home's servers: it outlives their users and stops the servers when the last one is gone.

`python -m nnlite.local.server_daemon HOME LIMITS LOCK`, started by the first user,
which passes the descriptor of the daemon's lock on. It also restarts servers that
crashed while in use, ends workers whose supervisor died, and rotates the logs.
"""

import json
import os
import sys
import time
from pathlib import Path

from nnlite.errors import NnliteError
from nnlite.host.backoff import Backoff
from nnlite.host.locks import FileLock
from nnlite.local import logs, server_control
from nnlite.local.home import Limits, LocalInstance, prepare_home
from nnlite.local.orphans import OrphanWatch
from nnlite.local.state_file import read_record

#: Between two rounds, seconds: how long servers may outlive a user that was killed.
ROUND_S = 1.0
#: Between attempts to start a server that does not stay up.
_BACKOFF = Backoff(first_s=ROUND_S, max_s=60.0)


class Restarter:
    """Restarts crashed servers, with growing pauses while that fails."""

    def __init__(self, instance: LocalInstance) -> None:
        self._instance = instance
        self._not_before = 0.0
        self._failures = 0

    def check(self) -> None:
        """Start the servers that should run and do not, unless a user is starting them."""
        home = self._instance.home
        if time.monotonic() < self._not_before or not server_control.crashed(read_record(home)):
            return
        with FileLock(home / "servers.lock") as users, FileLock(home / "servers.starting.lock") as starting:
            if users.try_shared() and starting.try_exclusive():
                self._restart()

    def _restart(self) -> None:
        kinds = server_control.embedded_servers(self._instance)
        for name in server_control.crashed(read_record(self._instance.home)):
            _log(f"{name} is gone; starting it again")
            try:
                server_control.ensure(kinds[name], self._instance)
            except NnliteError as error:
                _log(str(error))
                self._not_before = time.monotonic() + _BACKOFF.pause_s(self._failures)
                self._failures += 1
            else:
                self._failures = 0


def run(instance: LocalInstance, lock: int) -> None:
    """Watch the servers until nobody uses them, then stop them.

    Args:
        lock: the descriptor that holds the daemon's lock.
    """
    restarter, orphans = Restarter(instance), OrphanWatch(instance.home, instance.limits.stop_timeout_s)
    with FileLock(instance.home / "servers.lock") as users:
        # Workers that stop gracefully give their work back, for which they need the servers.
        while _round(instance, restarter, orphans) or not users.try_exclusive():
            time.sleep(ROUND_S)
        server_control.stop_all(instance)
        # Before `servers.lock` is free: a user that finds it free must find no daemon, and start one.
        os.close(lock)


def _round(instance: LocalInstance, restarter: Restarter, orphans: OrphanWatch) -> bool:
    """Check everything once; return whether workers of a dead supervisor are still stopping."""
    try:
        restarter.check()
        for log in instance.logs.glob("*.log"):
            logs.rotate(log, instance.limits.log_max_bytes)
        return orphans.check()
    except (NnliteError, OSError) as error:
        # Nobody else would stop the servers: log it and go on.
        _log(repr(error))
        return False


def _log(text: str) -> None:
    print(time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()), text, flush=True)


def main() -> None:
    """Run the daemon of the home that the command line names."""
    home, limits, lock = sys.argv[1:]
    # The servers that are started here must not inherit the lock.
    os.set_inheritable(int(lock), False)
    run(prepare_home(Path(home), Limits(**json.loads(limits))), int(lock))


if __name__ == "__main__":
    main()
