"""Names the cause of a noisy or throttled measurement, from what the kernel counted during its runs."""

from collections.abc import Iterator
from typing import Final

from nnlite.reports.schema import Disturbance
from nnlite.vocabulary import Reason, Verdict

#: Shares of the run, of the cores or of the frequency, below which nothing is blamed.
_STEAL: Final = 0.02
_FOREIGN: Final = 0.1
_FREQUENCY_FALL: Final = 0.1
_MEMORY_PRESSURE: Final = 0.02
_PRESSURE: Final = 0.2
#: Events per second, below which nothing is blamed.
_MAJOR_FAULTS: Final = 5
_INTERRUPTIONS: Final = 100
_MIGRATIONS: Final = 10

UNKNOWN: Final = "no cause visible"


def noise_cause(
    verdict: Verdict,
    reasons: tuple[Reason, ...],
    disturbance: Disturbance | None,
    thermal_status: int | None = None,
    *,
    shared_core: str | None = None,
) -> str | None:
    """Return in words what made a measurement noisy or throttled; None for another verdict.

    Several causes are separated by commas.

    Args:
        verdict: of the measurement.
        reasons: of the verdict.
        disturbance: what the kernel counted.
        thermal_status: the highest one seen.
        shared_core: how much slower than its fast speed the gate's canary found the core, in words.
    """
    if verdict is Verdict.THROTTLED:
        return f"thermal status {thermal_status}"
    if verdict is not Verdict.NOISY:
        return None
    causes = []
    if Reason.NOT_QUIET in reasons:
        causes.append("conversions on the machine were not paused")
    if Reason.NOT_TOP_APP in reasons:
        causes.append("the app was not in front")
    if thermal_status:
        causes.append(f"thermal status {thermal_status}")
    if disturbance is not None:
        causes += list(_others(disturbance)) or list(_own(disturbance))
    if shared_core is not None:
        causes.append(shared_core)
    return ", ".join(causes) or UNKNOWN


def _others(seen: Disturbance) -> Iterator[str]:
    """Yield what took the cores, their speed or the memory away."""
    if seen.steal is not None and seen.steal >= _STEAL:
        yield f"steal {_percent(seen.steal)}"
    if seen.foreign_cores is not None and seen.foreign_cores >= _FOREIGN * seen.cores:
        noun = "core" if seen.cores == 1 else "cores"
        yield f"other processes used {seen.foreign_cores:.1f} of {seen.cores} {noun}"
    lowest, highest = seen.frequency_min_khz, seen.frequency_max_khz
    if lowest is not None and highest and (fall := 1 - lowest / highest) >= _FREQUENCY_FALL:
        yield f"frequency fell {_percent(fall)}"
    if seen.memory_pressure is not None and seen.memory_pressure >= _MEMORY_PRESSURE:
        yield f"memory pressure {_percent(seen.memory_pressure)}"
    if seen.io_pressure is not None and seen.io_pressure >= _PRESSURE:
        yield f"I/O pressure {_percent(seen.io_pressure)}"


def _own(seen: Disturbance) -> Iterator[str]:
    """Yield what happened to the measuring process, where nothing says who did it."""
    if seen.cpu_pressure is not None and seen.cpu_pressure >= _PRESSURE:
        yield f"CPU pressure {_percent(seen.cpu_pressure)}"
    seconds = max(seen.window_ns, 1) / 1e9
    for count, limit, what in (
        (seen.major_faults, _MAJOR_FAULTS, "page faults from disk"),
        (seen.involuntary_switches, _INTERRUPTIONS, "interruptions"),
        (seen.migrations, _MIGRATIONS, "moves between cores"),
    ):
        if count is not None and count / seconds >= limit:
            yield f"{what}: {count / seconds:.0f} per second"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"
