"""What disturbed the timed runs, as the kernel counts it: two snapshots of /proc and their difference.

The measuring process reads them right before and right after its timed runs, and imports the standard library
only. A file that cannot be read gives None, never a guess. See proc(5) and, for pressure,
https://docs.kernel.org/accounting/psi.html.
"""

import os
import re
import resource
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

PROC: Final = Path("/proc")
#: CPU times are counted in ticks: in a shorter window their rounding would show, seconds.
MIN_WINDOW_S: Final = 0.5
RESOURCES: Final = ("cpu", "memory", "io")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
#: Columns of /proc/stat behind a core's name.
_IDLE, _IOWAIT, _STEAL = 3, 4, 7
_COUNTED: Final = 8  # guest time behind them is part of user time
_CORE: Final = re.compile(r"^cpu(\d{1,4})((?: +\d{1,18}){8,12}) *$", re.MULTILINE | re.ASCII)
_WAITED: Final = re.compile(r"^some .{0,200}\btotal=(\d{1,18})\b", re.MULTILINE | re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Counters of the kernel at one moment; None: unknown."""

    at_s: float
    #: CPU time of this process, all threads.
    own_s: float
    #: Of the cores that measure: time in use (by this process too), and time that a hypervisor took away.
    busy_s: float | None = None
    steal_s: float | None = None
    #: Time in which something waited for the resource, by name.
    waited_s: dict[str, float] = field(default_factory=dict)
    #: Of this process, all threads.
    migrations: int | None = None
    voluntary_switches: int | None = None
    involuntary_switches: int | None = None
    minor_faults: int = 0
    major_faults: int = 0


def snapshot(cores: Collection[int], proc: Path = PROC) -> Snapshot:
    """Read the counters now.

    Args:
        cores: those that measure.
        proc: where the files of the kernel are.
    """
    busy_s, steal_s = cpu_times_s(_text(proc / "stat"), cores, _TICKS_PER_S)
    statuses = [_text(task / "status") for task in _tasks(proc)]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Snapshot(
        at_s=time.monotonic(),
        own_s=usage.ru_utime + usage.ru_stime,
        busy_s=busy_s,
        steal_s=steal_s,
        waited_s=waited_s({name: _text(proc / "pressure" / name) for name in RESOURCES}),
        migrations=_sum("nr_migrations", [_text(task / "sched") for task in _tasks(proc)]),
        voluntary_switches=_sum("voluntary_ctxt_switches", statuses),
        involuntary_switches=_sum("nonvoluntary_ctxt_switches", statuses),
        minor_faults=usage.ru_minflt,
        major_faults=usage.ru_majflt,
    )


def between(before: Snapshot, after: Snapshot, cores: int) -> dict[str, Any]:
    """Return the fields of the report's `Disturbance` that two snapshots tell.

    Args:
        before: of the same process and cores, earlier.
        after: the later one.
        cores: number of cores that measure.
    """
    window_s = after.at_s - before.at_s
    times = window_s >= MIN_WINDOW_S
    busy_s, steal_s = _difference(before.busy_s, after.busy_s), _difference(before.steal_s, after.steal_s)
    own_s = after.own_s - before.own_s
    foreign = None if busy_s is None or not times else max(busy_s - own_s, 0.0) / window_s
    return {
        "window_ns": round(window_s * 1e9),
        "cores": cores,
        "own_cores": own_s / window_s if times else None,
        "steal": None if steal_s is None or not times or not cores else steal_s / window_s / cores,
        "foreign_cores": foreign,
        **{
            f"{name}_pressure": waiting_s / window_s if window_s and waiting_s is not None else None
            for name in RESOURCES
            for waiting_s in [_difference(before.waited_s.get(name), after.waited_s.get(name))]
        },
        **{
            name: _difference(getattr(before, name), getattr(after, name))
            for name in (
                "migrations", "voluntary_switches", "involuntary_switches", "minor_faults", "major_faults",
            )
        },
    }  # fmt: skip


def cpu_times_s(
    stat: str | None, cores: Collection[int], ticks_per_s: int
) -> tuple[float | None, float | None]:
    """Return busy and stolen time of `cores` in the text of /proc/stat; None where it has not all of them."""
    busy = steal = 0
    found = set()
    for core, numbers in _CORE.findall(stat or ""):
        if int(core) in cores:
            times = [int(number) for number in numbers.split()[:_COUNTED]]
            found.add(int(core))
            steal += times[_STEAL]
            busy += sum(times) - times[_IDLE] - times[_IOWAIT] - times[_STEAL]
    if found != set(cores) or not found:
        return None, None
    return busy / ticks_per_s, steal / ticks_per_s


def waited_s(pressure: Mapping[str, str | None]) -> dict[str, float]:
    """Return for how long something waited for each resource, of the texts of /proc/pressure that tell."""
    matches = {name: _WAITED.search(text or "") for name, text in pressure.items()}
    return {name: int(match[1]) / 1e6 for name, match in matches.items() if match}


def _tasks(proc: Path) -> list[Path]:
    """Return the folders of this process's threads."""
    try:
        return sorted((proc / "self/task").iterdir())
    except OSError:
        return []


def _sum(name: str, texts: Collection[str | None]) -> int | None:
    """Return the sum of a counter over the files of several threads; None if none has it."""
    matches = [re.search(rf"^(?:se\.)?{name}\s*:\s*(\d+)$", text or "", re.MULTILINE) for text in texts]
    known = [int(match[1]) for match in matches if match]
    return sum(known) if known else None


def _difference(before: Any, after: Any) -> Any:
    """Return the increase of a counter, at least 0: that of steal time may be corrected downwards."""
    return None if before is None or after is None else max(after - before, type(after)(0))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
