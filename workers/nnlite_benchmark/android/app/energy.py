"""Energy of an inference on a phone: from its power rails, else from its battery's charge if unplugged."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from nnlite.reports.schema import RunReport
from nnlite.vocabulary import EnergyMethod
from nnlite_benchmark.android.properties.parsers import ShellOutput, run_batch
from nnlite_benchmark.android.properties.power import (
    PERFETTO_COMMAND,
    RAIL_COMMANDS,
    battery_readings,
    rails_uj,
    resolution_uj,
    traced_rails,
)
from nnlite_benchmark.protocol.analysis.energy import continuous_inference_ns, energy_of

#: Readings of the rails in a pass, at most: reading takes some hundredths of a second of a core.
_READINGS: Final = 15
_LEAST_INTERVAL_S: Final = 1.0


class PhoneEnergy:
    """Readings of a phone's power rails during one pass of continuous inference."""

    def __init__(
        self, shell_output: ShellOutput, seconds: float, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._shell_output = shell_output
        self._clock_s = clock_s
        self._interval_s = max(_LEAST_INTERVAL_S, seconds / _READINGS)
        self._commands = RAIL_COMMANDS
        self._method = EnergyMethod.RAILS
        self._next_s = 0.0
        #: Seconds of one clock, and the energy of each rail.
        self._readings: list[tuple[float, dict[str, float]]] = []

    def note(self) -> None:
        """Read the rails, if there are any and it is time; call it often, while the artifact runs.

        Raises:
            Failure: whatever `shell_output` raises.
        """
        begin_s = self._clock_s()
        if not self._commands or (self._readings and begin_s < self._next_s):
            return
        if not self._read() and not self._readings:
            # perfetto takes a third of a second; a pass is read in one way only.
            self._commands, self._method = PERFETTO_COMMAND, EnergyMethod.PERFETTO
            self._read()
        self._next_s = (begin_s + self._clock_s()) / 2 + self._interval_s

    def _read(self) -> bool:
        """Read the rails; the first command that tells them is the one from now on, else there is none."""
        begin_s = self._clock_s()
        outputs = run_batch(self._shell_output, self._commands)
        at_s = (begin_s + self._clock_s()) / 2
        for name, output in outputs.items():
            if name in PERFETTO_COMMAND:
                at_s, rails = traced_rails(output)
            else:
                rails = rails_uj(output)
            if rails:
                self._commands = {name: self._commands[name]}
                self._readings.append((at_s, rails))
                return True
        self._commands = {}
        return False

    def added_to(self, report: RunReport) -> RunReport:
        """Return the report of a pass with the energy of an inference, or the reason why there is none."""
        inference_ns = continuous_inference_ns(report)
        if inference_ns is None:
            return report
        rails = self._rails_of_all()
        if len(self._readings) >= 2 and rails:
            if any(first_s >= last_s for (first_s, _), (last_s, _) in pairwise(self._readings)):
                error = "the readings of its power rails are not in order of time"
                return report.model_copy(update={"energy_error": error})
            return self._by_rails(report, rails, inference_ns)
        try:
            if report.battery is None:
                raise ValueError("the app sent no readings of its battery")
            readings, resolution = battery_readings(report.battery)
        except ValueError as error:
            return report.model_copy(update={"energy_error": f"the phone has no power rails, and {error}"})
        energy = energy_of(EnergyMethod.BATTERY, readings, inference_ns, resolution_uj=resolution)
        return report.model_copy(update={"energy": energy})

    def _rails_of_all(self) -> list[str]:
        """Return the rails that each reading has, and whose counters did not begin again."""
        first, last = (self._readings[at][1] if self._readings else {} for at in (0, -1))
        return [
            name
            for name in first
            if all(name in rails for _, rails in self._readings) and last[name] >= first[name]
        ]

    def _by_rails(self, report: RunReport, rails: list[str], inference_ns: float) -> RunReport:
        (first_s, first), (last_s, last) = self._readings[0], self._readings[-1]
        readings = [
            (at_s, sum(energy[name] - first[name] for name in rails)) for at_s, energy in self._readings
        ]
        is_printed = self._method is EnergyMethod.RAILS
        energy = energy_of(
            self._method,
            readings,
            inference_ns,
            # perfetto's are whole microjoules.
            resolution_uj=resolution_uj({name: last[name] for name in rails}) if is_printed else len(rails),
            rails_w={name: (last[name] - first[name]) / 1e6 / (last_s - first_s) for name in rails},
        )
        return report.model_copy(update={"energy": energy})
