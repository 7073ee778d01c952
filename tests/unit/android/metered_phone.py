"""A simulated phone that counts its energy, and the report of a pass of continuous inference on it."""

from nnlite.reports.schema import Bins, RunReport
from nnlite.vocabulary import Stage
from nnlite_benchmark.android.app.energy import PhoneEnergy
from unit.android.recorded_device import device_printing

S = 1_000_000_000


class MeteredPhone:
    """A phone with a clock of its own.

    `outputs` gives what its commands print, by their names, at a time in seconds; `asked` has the names
    of the meters that each command line asked for.
    """

    def __init__(self, outputs):
        self.now_s, self.outputs, self.asked = 0.0, outputs, []

    def shell_output(self, line):
        self.asked.append([name for name in ("hal2", "hal1", "perfetto") if f":{name}'" in line])
        return device_printing(self.outputs(self.now_s))(line)

    def pass_of(self, seconds):
        """Return the energy noted ten times a second in a pass as long as this."""
        energy = PhoneEnergy(self.shell_output, seconds, lambda: self.now_s)
        for _ in range(10 * seconds):
            energy.note()
            self.now_s += 0.1
        return energy


def report_of(battery=None):
    """Return the report of a pass with inferences of 10 ms, pauses included."""
    bins = Bins(end_ns=(S, 2 * S), runs=(100, 100), median_ns=(9_000_000, 9_000_000))
    return RunReport(
        runtime="TFLite", runtime_version="2.16.1", threads=1, stage=Stage.RUN, bins=bins, battery=battery
    )
