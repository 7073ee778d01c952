"""Says what a campaign waits for: workers that start, workers that are missing, models that come first."""

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from nnlite.campaigns.outlook import Outlook, outlook
from nnlite.cli.presenting.output import count
from nnlite.cli.presenting.presentation import duration
from nnlite.errors import Unavailable
from nnlite.local import daemon
from nnlite.queue.app import CONVERT_QUEUE
from nnlite.results.queries import Progress
from nnlite.results.reading import Database

if TYPE_CHECKING:  # takes longer to import than a listing
    from nnlite.queue.messages import BrokerClient

#: Between two questions to the workers, seconds.
_INTERVAL_S = 10.0
_STARTING = "waiting: the workers start and import PyTorch, which may take a minute"


def lines(found: Outlook) -> list[str]:
    """Return an outlook in lines."""
    said = [f"waiting: {obstacle}" for obstacle in found.obstacles]
    if found.ahead:
        left = f"; about {duration(found.seconds)} until this one is converted" if found.seconds else ""
        verb = "comes" if found.ahead == 1 else "come"
        said.append(f"{count(found.ahead, 'model')} of other campaigns {verb} first{left}")
    return said


def lines_for(database: Database, name: str, served: Collection[str], home: Path) -> list[str]:
    """Return what a campaign waits for, in lines.

    Args:
        served: names of the queues that living workers consume.
        home: whose workers may be starting.
    """
    found = outlook(database, name, served)
    if found.obstacles and CONVERT_QUEUE not in served and _converters_of(home):
        return [_STARTING]
    return lines(found)


def _converters_of(home: Path) -> bool:
    """Whether `nnlite up`, or another command, has started conversion workers in this home."""
    running = daemon.running(home.expanduser().resolve())
    return any(each.kind == "worker" and each.name.startswith("convert") for each in running)


def explanation(database: Database, broker: "BrokerClient", name: str, home: Path) -> list[str]:
    """Return what a campaign waits for, in lines; `home` as for `lines_for`."""
    try:
        return lines_for(database, name, broker.served_queues(), home)
    except Unavailable:
        return ["waiting: Redis is away; work starts when it is back"]


class Explainer:
    """Explains why a campaign that is watched does not go on, asking the workers now and then only.

    Args:
        own: whether workers of the command itself run, which need a while to take work.
    """

    def __init__(
        self,
        database: Database,
        broker: "BrokerClient",
        home: Path,
        own: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._broker = broker
        self._home = home
        self._own = own
        self._asked_at = -_INTERVAL_S
        self._lines: list[str] = []

    def __call__(self, progress: Progress) -> list[str]:
        """Return what the campaign waits for, in lines."""
        if self._own():
            return [] if progress.finished or progress.converted else [_STARTING]
        if time.monotonic() - self._asked_at >= _INTERVAL_S:
            self._lines = explanation(self._database, self._broker, progress.name, self._home)
            self._asked_at = time.monotonic()
        return self._lines
