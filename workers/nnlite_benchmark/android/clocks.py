"""Clock policy of a phone: fixed performance mode, verified by the phone's answer, or what is in force else.

`cmd power set-fixed-performance-mode-enabled` exists from API 30 on. It prints nothing where the power HAL
has the mode; otherwise "Failed to set FIXED_PERFORMANCE mode" (bytecode of `PowerManagerShellCommand`,
Android 11 and 14).
"""

from typing import Final

from nnlite.reports.schema import Clocks, MeasurementReport
from nnlite.vocabulary import ClockPolicy
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.android.properties.parsers import word

_FIX: Final = "cmd power set-fixed-performance-mode-enabled"
_FIRST_LEVEL: Final = 30


class ClockControl:
    """Holds the clocks of one phone while it measures, if that is asked and the phone can."""

    def __init__(self, shell: Shell, asked: ClockPolicy) -> None:
        self._shell = shell
        self._holds = False
        self.asked = asked

    def hold(self, api_level: int | None) -> str | None:
        """Fix the clocks if that is asked; return why they are not fixed.

        Raises:
            Failure: the shell cannot be used.
        """
        if self.asked is not ClockPolicy.FIXED:
            return None
        if api_level is not None and api_level < _FIRST_LEVEL:
            return f"fixed performance mode needs API level {_FIRST_LEVEL}, this device has {api_level}"
        result = self._shell.run(f"{_FIX} true")
        if result.status == 0 and not result.text:
            self._holds = True
            return None
        return word(f"no fixed performance mode: {result.text or f'exit status {result.status}'}")

    def release(self) -> None:
        """Let the clocks go if they were fixed; raises Failure if the shell cannot be used."""
        if self._holds:
            self._holds = False
            self._shell.run(f"{_FIX} false")


def clocks_of(asked: ClockPolicy, refusal: str | None, report: MeasurementReport) -> Clocks:
    """Return the policy that was in force during a measurement.

    Args:
        asked: by the setting.
        refusal: why the clocks were not fixed; None: they were, or it was not asked.
        report: of the measurement.
    """
    states = [state for state in (report.before, report.after) if state]
    if any(state.clocks_locked for state in states):
        return Clocks(policy=ClockPolicy.LOCKED, asked=asked, note="lowest and highest frequency are equal")
    if asked is ClockPolicy.SUSTAINED and not report.sustained_performance:
        told = report.sustained_performance is not None
        note = "the device has no sustained performance mode" if told else "the app did not say that it is on"
        return Clocks(policy=ClockPolicy.FREE, asked=asked, note=note)
    if refusal is not None:
        return Clocks(policy=ClockPolicy.FREE, asked=asked, note=refusal)
    return Clocks(policy=asked, asked=asked)
