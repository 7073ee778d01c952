"""Energy of the processor packages during the timed runs, from RAPL's counters in Linux's powercap.

Read by the parent process a few times a second, so that the timed runs do nothing else. A package's energy is
that of everything on it: other processes, and what it uses when idle. Most systems let only root read it.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from nnlite.reports.schema import Energy
from nnlite.vocabulary import Stage
from nnlite_benchmark.protocol.measurement import Run

POWERCAP: Final = Path("/sys/class/powercap")
#: Least distance of two readings. RAPL updates its counters every millisecond, so that the time between two
#: readings is exact to two per cent.
_INTERVAL_S: Final = 0.05
#: The interval of the mean power is that of the means of so many equal parts of the run, each of two readings
#: or more, because readings close in time resemble each other.
_BLOCKS: Final = 5
#: Student's t for 95 % with one degree of freedom less than blocks.
_T: Final = 2.776


class PackageEnergy:
    """Readings of the counters of all packages of this machine during one run."""

    def __init__(self, root: Path = POWERCAP, clock: Callable[[], float] = time.monotonic) -> None:
        """Find the packages; there are none where the counters are missing or may not be read."""
        self._clock = clock
        self._ranges_uj = {
            zone: size for zone in _packages(root) if (size := _number(zone / "max_energy_range_uj"))
        }
        self._last_uj: dict[Path, int] = {}
        self._used_uj = 0
        #: Time in seconds, and energy since the first reading.
        self._readings: list[tuple[float, int]] = []

    def note(self, stage: Stage) -> None:
        """Read the counters in the stage of the timed runs.

        Called ten times a second, and when the measuring process enters a stage.
        """
        now_s = self._clock()
        if stage is not Stage.RUN or not self._ranges_uj:
            return
        if self._readings and now_s < self._readings[-1][0] + _INTERVAL_S:
            return
        for zone, range_uj in self._ranges_uj.items():
            value = _number(zone / "energy_uj")
            if value is None:
                self._ranges_uj = {}
                self._readings = []
                return
            # A counter starts again from zero after its range.
            self._used_uj += (value - self._last_uj.get(zone, value)) % (range_uj + 1)
            self._last_uj[zone] = value
        self._readings.append((now_s, self._used_uj))

    def added_to(self, run: Run) -> Run:
        """Return `run` with the energy of an inference in its report, if it is known."""
        if not run.samples_ns.size or (energy := self.summary(float(run.samples_ns.mean()))) is None:
            return run
        return replace(run, report=run.report.model_copy(update={"energy": energy}))

    def summary(self, inference_ns: float) -> Energy | None:
        """Return the energy of one inference of `inference_ns`, or None with fewer than two readings."""
        if len(self._readings) < 2:
            return None
        power_w = _power_w(self._readings[0], self._readings[-1])
        uj_per_w = inference_ns / 1e3
        low_uj = high_uj = None
        if (half_width_w := self._half_width_w()) is not None:
            low_uj = max(0.0, power_w - half_width_w) * uj_per_w
            high_uj = (power_w + half_width_w) * uj_per_w
        return Energy(
            packages=len(self._ranges_uj),
            seconds=self._readings[-1][0] - self._readings[0][0],
            power_w=power_w,
            energy_uj=power_w * uj_per_w,
            energy_low_uj=low_uj,
            energy_high_uj=high_uj,
        )

    def _half_width_w(self) -> float | None:
        """Return half the width of the 95 % interval of the mean power, or None with too few readings."""
        size = (len(self._readings) - 1) // _BLOCKS
        if size < 2:
            return None
        ends = [self._readings[block * size] for block in range(_BLOCKS + 1)]
        powers_w = [_power_w(first, last) for first, last in pairwise(ends)]
        return _T * statistics.stdev(powers_w) / _BLOCKS**0.5


def _power_w(first: tuple[float, int], last: tuple[float, int]) -> float:
    return (last[1] - first[1]) / 1e6 / (last[0] - first[0])


def _packages(root: Path) -> list[Path]:
    """Return the zones of whole packages: parts of one, such as its cores, would count twice."""
    zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    return [zone for zone in zones if _text(zone / "name").startswith("package")]


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdigit() else None


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_text().strip()
    return ""
