"""Reads the kernel's counters through adb during the timed runs: what apps may not read themselves.

Since Android 8 an app may not read /proc/stat, the shell may. A file that a device does not have gives None.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from nnlite.reports.schema import RunReport
from nnlite_benchmark.android.properties.analytics import STATE_COMMANDS, frequencies_khz
from nnlite_benchmark.android.properties.parsers import ShellOutput, run_batch
from nnlite_benchmark.protocol.analysis.disturbance import RESOURCES, Snapshot, between, cpu_times_s, waited_s

COMMANDS: Final = {
    "stat": "cat /proc/stat",
    "frequencies": STATE_COMMANDS["frequencies"],
    **{name: f"cat /proc/pressure/{name}" for name in RESOURCES},
}
#: From the first reading to the second one, seconds. Each further one is twice as far from the first, so that
#: reading disturbs a long run no more than a short one, and most of every run is between first and last.
_INTERVAL_S: Final = 0.5
#: Android's kernels count CPU time in ticks of 10 ms (USER_HZ).
_TICKS_PER_S: Final = 100
_READ_HERE: Final = ("steal", "foreign_cores", *(f"{name}_pressure" for name in RESOURCES))


class SystemCounters:
    """The kernel's counters of a device during one run of the app."""

    def __init__(self, shell_output: ShellOutput, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._shell_output = shell_output
        self._clock_s = clock_s
        #: Time and outputs of each reading.
        self._readings: list[tuple[float, Mapping[str, str]]] = []
        self._next_s = 0.0

    def note(self) -> None:
        """Read the counters, if it is time; call it often, during the timed runs only.

        Raises:
            Failure: whatever `shell_output` raises.
        """
        begin_s = self._clock_s()
        if begin_s < self._next_s:
            return
        outputs = run_batch(self._shell_output, COMMANDS)
        self._readings.append(((begin_s + self._clock_s()) / 2, outputs))
        elapsed_s = begin_s - self._readings[0][0]
        self._next_s = begin_s + max(_INTERVAL_S, elapsed_s)

    def added_to(self, report: RunReport) -> RunReport:
        """Return `report` with what the counters tell about its cores, in its disturbance."""
        if report.disturbance is None or len(self._readings) < 2 or not report.cores:
            return report
        (first_s, first), (last_s, last) = self._readings[0], self._readings[-1]
        own_cores = report.disturbance.own_cores
        own_s = (own_cores or 0.0) * (last_s - first_s)
        before = _snapshot(first_s, first, report.cores, 0.0)
        after = _snapshot(last_s, last, report.cores, own_s)
        seen = between(before, after, len(report.cores))
        update = {name: seen[name] for name in _READ_HERE}
        if own_cores is None:
            update["foreign_cores"] = None
        lowest, highest = report.disturbance.frequency_min_khz, report.disturbance.frequency_max_khz
        khz = [number for number in (lowest, highest) if number is not None] + self._frequencies_khz(
            report.cores
        )
        if khz:
            update |= {"frequency_min_khz": min(khz), "frequency_max_khz": max(khz)}
        return report.model_copy(update={"disturbance": report.disturbance.model_copy(update=update)})

    def _frequencies_khz(self, cores: tuple[int, ...]) -> list[int]:
        """Return the frequency of the fastest of `cores` at each reading."""
        fastest = []
        for _, outputs in self._readings:
            by_core = frequencies_khz(outputs["frequencies"])
            known = [by_core[core] for core in cores if core < len(by_core)]
            fastest.append(max((khz for khz in known if khz is not None), default=None))
        return [khz for khz in fastest if khz is not None]


def _snapshot(at_s: float, outputs: Mapping[str, str], cores: tuple[int, ...], own_s: float) -> Snapshot:
    busy_s, steal_s = cpu_times_s(outputs["stat"], cores, _TICKS_PER_S)
    return Snapshot(
        at_s=at_s,
        own_s=own_s,
        busy_s=busy_s,
        steal_s=steal_s,
        waited_s=waited_s({name: outputs[name] for name in RESOURCES}),
    )
