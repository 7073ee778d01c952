"""Shows a campaign's progress: live in a terminal, one line per change where output is piped."""

import time
from collections import deque
from collections.abc import Callable

from rich.align import Align
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from nnlite.cli.presenting.output import count, err, note, visible
from nnlite.cli.presenting.presentation import duration
from nnlite.results.queries import Progress, campaigns, running
from nnlite.results.reading import Row
from nnlite.results.runtime_checks import pending
from nnlite.vocabulary import CampaignState

#: Between two looks, seconds: short ones first, as workers that run do a small campaign in seconds.
_FIRST_INTERVAL_S, _INTERVAL_S, _GROWTH = 0.2, 1.0, 1.25
#: A look is followed by a pause of at least so many times its own time, however much ends meanwhile.
_PAUSE_RATIO = 5
#: Window of the rate, seconds.
_RATE_WINDOW_S = 600.0


class Rate:
    """Models per hour over the last minutes, and the time left."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now_s: float, finished: int) -> None:
        """Note that `finished` models had ended at `now_s` (any steady clock)."""
        self._seen.append((now_s, finished))
        while now_s - self._seen[0][0] > _RATE_WINDOW_S:
            self._seen.popleft()

    def per_hour(self) -> float | None:
        """Models per hour; None before the first has ended."""
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        return (last - first) / (last_s - first_s) * 3600 if last > first and last_s > first_s else None

    def left_s(self, remaining: int) -> float | None:
        """Seconds until `remaining` models have ended at this rate."""
        rate = self.per_hour()
        return remaining / rate * 3600 if rate else None


def watch(
    engine: Engine,
    name: str,
    while_waiting: Callable[[], None] = lambda: None,
    explain: Callable[[Progress], list[str]] = lambda _progress: [],
    wait: Callable[[float], object] = time.sleep,
) -> Progress:
    """Show the progress of campaign `name` until it has ended, and return its final progress.

    Waits for a paused campaign, and for Postgres; a cancelled campaign has ended. The caller prints how.

    Args:
        while_waiting: called once a second or more often; may raise.
        explain: returns what the campaign waits for, in lines; called while nothing of it is running, but
            not at the first look, when workers have not had the time to begin.
        wait: called between two looks with the seconds that it may take; it returns earlier if work ended.
    """
    rate = Rate()
    printed: tuple[str, list[str]] = ("", [])
    reasons: list[str] = []
    interval_s = _FIRST_INTERVAL_S
    with Live(console=err, auto_refresh=False, transient=True) as live:
        while True:
            began_s = time.monotonic()
            try:
                (progress,) = campaigns(engine, name)
                now = running(engine, name)
            except DBAPIError:
                # Campaigns take days and survive an outage of Postgres; so does watching them.
                progress, now = None, []
            if progress is None:
                line = counts = "Postgres is away; waiting for it"
            else:
                rate.note(time.monotonic(), progress.finished)
                line, counts = summary(progress, rate), summary(progress)
                begun = now or progress.ended or interval_s == _FIRST_INTERVAL_S
                reasons = [] if begun else explain(progress)
            if err.is_terminal:
                live.update(panel("\n".join([line, *reasons]), progress, now), refresh=True)
            elif not (progress and progress.ended):
                lines = [line, *reasons] if counts != printed[0] else reasons
                if lines and (counts, reasons) != printed:
                    note("\n".join(lines))
                    printed = counts, reasons
            if progress is not None and progress.ended:
                return progress
            while_waiting()
            pause_s = min(interval_s, _PAUSE_RATIO * (time.monotonic() - began_s))
            time.sleep(pause_s)
            wait(interval_s - pause_s)
            interval_s = min(_INTERVAL_S, interval_s * _GROWTH)


def watch_checks(engine: Engine, name: str, runtime_version: str, while_waiting: Callable[[], None]) -> None:
    """Wait until every artifact of campaign `name` is checked, while the caller runs the check worker.

    Checks that pause, because their file or the runtime is missing, are not waited for: a check only informs.
    """
    printed = None
    with err.status("") as status:
        while True:
            try:
                left = pending(engine, name, runtime_version)
            except DBAPIError:
                left = None
            if left == 0:
                return
            artifacts = "artifacts" if left is None else count(left, "artifact")
            line = f"{name}: {artifacts} to be tried with TensorFlow Lite {runtime_version}"
            status.update(line)
            if printed is None and not err.is_terminal:
                note(line)
                printed = line
            while_waiting()
            time.sleep(_INTERVAL_S)


def summary(progress: Progress, rate: Rate | None = None) -> str:
    """Return one line: counts of models, the rate and the time left."""
    parts = [
        f"{progress.name}: {progress.finished}/{progress.models} models",
        f"{progress.converted} converted"
        + (f" ({progress.from_cache} cached)" if progress.from_cache else ""),
        f"{progress.measured} measured",
        f"{progress.failed} failed",
    ]
    if progress.repeating:
        parts.append(f"{progress.repeating} measured again")
    if progress.precisions_refused:
        parts.append(f"{count(progress.precisions_refused, 'precision')} refused")
    if progress.skipped:
        parts.append(f"{progress.skipped} skipped")
    if progress.state in {CampaignState.PAUSED, CampaignState.CANCELLED}:
        parts.append(progress.state)
    if rate and (per_hour := rate.per_hour()):
        parts.append(f"{per_hour:.0f} models/h")
        if left_s := rate.left_s(progress.remaining):
            parts.append(f"{duration(left_s)} left")
    return ", ".join(parts)


def panel(line: str, progress: Progress | None, now: list[Row]) -> RenderableType:
    """Return the display of a terminal: the line, a bar, and running work with its stage."""
    table = Table.grid(padding=(0, 2))
    for row in now:
        table.add_row(
            row["work"],
            Text(visible(row["model"], line_breaks=False), overflow="fold"),
            row["device"] or "",
            row["backend"] or "",
            row["stage"] or "",
            duration(row["seconds"]),
        )
    if progress is None:
        return Text(line)
    bar = ProgressBar(total=max(progress.models, 1), completed=progress.finished, width=60)
    # A bar alone does not end its line.
    return Group(Text(line), Align.left(bar), table)
