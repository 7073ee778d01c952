"""The process that outlives everybody who uses a home's servers, and stops them when nobody is left.

`python -m nnlite.local.server_daemon HOME BOUNDS LOCK`, started by the first user,
which hands it `guardian.lock`. It also starts again what crashed while in use,
ends workers whose owner died, and keeps the logs short.
"""

import json
import os
import sys
import time
from pathlib import Path

from nnlite.errors import NnliteError
from nnlite.host.locks import FileLock
from nnlite.local import logs
from nnlite.local import server_control as lifecycle
from nnlite.local.home import Bounds, LocalInstance, prepare_home
from nnlite.local.orphans import OrphanWatch
from nnlite.local.state_file import read_record

#: Between two looks, seconds: how long servers may outlive a user that was killed.
ROUND_S = 1.0
#: Longest pause between attempts to start a server that does not stay up, seconds.
_MAX_PAUSE_S = 60.0


class Healing:
    """Starts crashed servers again, with growing pauses while that does not help."""

    def __init__(self, site: LocalInstance) -> None:
        self._site = site
        self._not_before = 0.0
        self._pause_s = ROUND_S

    def look(self) -> None:
        """Start what should run and does not, unless somebody else is at it."""
        if time.monotonic() < self._not_before or not lifecycle.crashed(read_record(self._site.home)):
            return
        with (
            FileLock(self._site.home / "servers.lock") as users,
            FileLock(self._site.home / "servers.starting.lock") as starting,
        ):
            if users.try_shared() and starting.try_exclusive():
                self._heal()

    def _heal(self) -> None:
        kinds = lifecycle.embedded_servers(self._site)
        for name in lifecycle.crashed(read_record(self._site.home)):
            _say(f"{name} is gone; starting it again")
            try:
                lifecycle.ensure(kinds[name], self._site)
            except NnliteError as error:
                _say(str(error))
                self._not_before = time.monotonic() + self._pause_s
                self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
            else:
                self._pause_s = ROUND_S


def guard(site: LocalInstance, guarding: int) -> None:
    """Watch until nobody uses the servers, then stop them.

    Args:
        guarding: the descriptor that holds `guardian.lock`.
    """
    healing, orphans = Healing(site), OrphanWatch(site.home, site.bounds.stop_timeout_s)
    with FileLock(site.home / "servers.lock") as users:
        # Workers that stop in order give their work back, for which they need the servers.
        while _look(site, healing, orphans) or not users.try_exclusive():
            time.sleep(ROUND_S)
        lifecycle.stop_all(site)
        # In this order: who finds `servers.lock` free must find no guardian, and start one.
        os.close(guarding)


def _look(site: LocalInstance, healing: Healing, orphans: OrphanWatch) -> bool:
    """Do one round; return whether workers of a dead owner are still stopping."""
    try:
        healing.look()
        for log in site.logs.glob("*.log"):
            logs.bound(log, site.bounds.log_max_bytes)
        return orphans.look()
    except (NnliteError, OSError) as error:
        # Nobody else would stop the servers: complain, and go on watching.
        _say(repr(error))
        return False


def _say(text: str) -> None:
    print(time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()), text, flush=True)


def main() -> None:
    """Guard the home that the command line names."""
    home, bounds, guarding = sys.argv[1:]
    # Not for the servers that we start: they would hold the lock as well.
    os.set_inheritable(int(guarding), False)
    guard(prepare_home(Path(home), Bounds(**json.loads(bounds))), int(guarding))


if __name__ == "__main__":
    main()
