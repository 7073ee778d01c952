"""Energy of the processor packages during the timed runs, from RAPL's counters in Linux's powercap.

Read by the parent process a few times a second, so that the timed runs do nothing else. A package's energy is
that of everything on it: other processes, and what it uses when idle. Most systems let only root read it.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from nnlite.reports.schema import Energy
from nnlite.vocabulary import EnergyMethod, Stage
from nnlite_benchmark.protocol.analysis.energy import continuous_inference_ns, energy_of
from nnlite_benchmark.protocol.analysis.measurement import Run

POWERCAP: Final = Path("/sys/class/powercap")
#: Least distance of two readings. RAPL updates its counters every millisecond, so that the time between two
#: readings is exact to two per cent.
_INTERVAL_S: Final = 0.05


class PackageEnergy:
    """Readings of the counters of all packages of this machine during one run."""

    def __init__(self, root: Path = POWERCAP, clock: Callable[[], float] = time.monotonic) -> None:
        """Find the packages; there are none where the counters are missing or may not be read."""
        self._clock = clock
        self._root = root
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
        self._read(now_s)

    def _read(self, now_s: float) -> None:
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
        inference_ns = continuous_inference_ns(run.report)
        if inference_ns is None and run.samples_ns.size:
            inference_ns = float(run.samples_ns.mean())
        if run.report.bins and len(self._readings) == 1:
            # The machine was so busy that this process did not come to a second one during the pass.
            self._read(self._clock())
        energy = None if inference_ns is None else self.summary(inference_ns)
        update = {"energy": energy} if energy else {"energy_error": self._error()} if run.report.bins else {}
        return replace(run, report=run.report.model_copy(update=update)) if update else run

    def _error(self) -> str:
        return f"no counters of a processor package can be read in {self._root}: see nnlite doctor"

    def summary(self, inference_ns: float) -> Energy | None:
        """Return the energy of one inference of `inference_ns`, or None with fewer than two readings."""
        return energy_of(EnergyMethod.RAPL, self._readings, inference_ns, packages=len(self._ranges_uj))


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
