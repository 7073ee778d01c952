"""Energy of an inference on a phone: from its power rails, else from its battery's charge if unplugged."""

import time
from collections.abc import Callable
from typing import Final

from nnlite.reports.schema import RunReport
from nnlite.vocabulary import EnergyMethod
from nnlite_benchmark.android.properties.parsers import ShellOutput, run_batch
from nnlite_benchmark.android.properties.power import (
    RAIL_COMMANDS,
    battery_readings,
    rails_uj,
    resolution_uj,
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
        self._readings: list[tuple[float, dict[str, float]]] = []

    def note(self) -> None:
        """Read the rails, if there are any and it is time; call it often, while the artifact runs.

        Raises:
            Failure: whatever `shell_output` raises.
        """
        begin_s = self._clock_s()
        if not self._commands or (self._readings and begin_s < self._readings[-1][0] + self._interval_s):
            return
        outputs = run_batch(self._shell_output, self._commands)
        # The first version that tells is the one that is asked from now on; none: no further question.
        self._commands = {name: self._commands[name] for name in outputs if rails_uj(outputs[name])}
        for name in list(self._commands)[:1]:
            self._commands = {name: self._commands[name]}
            self._readings.append(((begin_s + self._clock_s()) / 2, rails_uj(outputs[name])))

    def added_to(self, report: RunReport) -> RunReport:
        """Return the report of a pass with the energy of an inference, or the reason why there is none."""
        inference_ns = continuous_inference_ns(report)
        if inference_ns is None:
            return report
        rails = self._rails_of_all()
        if len(self._readings) >= 2 and rails:
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
        energy = energy_of(
            EnergyMethod.RAILS,
            readings,
            inference_ns,
            resolution_uj=resolution_uj({name: last[name] for name in rails}),
            rails_w={name: (last[name] - first[name]) / 1e6 / (last_s - first_s) for name in rails},
        )
        return report.model_copy(update={"energy": energy})
