"""Conditions of a phone: what spoils a number is named in its row, in some it takes no work; clock policy.

The policy is fixed performance mode, verified by the phone's answer, or what is in force else. `cmd power
set-fixed-performance-mode-enabled` exists from API 30 on. It prints nothing where the power HAL has the mode;
otherwise "Failed to set FIXED_PERFORMANCE mode" (bytecode of `PowerManagerShellCommand`, Android 11 and 14).
"""

from typing import Final

from nnlite.reports.schema import Clocks, DeviceContext, DeviceState, MeasurementReport
from nnlite.settings.groups import PhoneSettings
from nnlite.vocabulary import ClockPolicy, Condition
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.android.properties.parsers import word

_FIX: Final = "cmd power set-fixed-performance-mode-enabled"
_FIRST_LEVEL: Final = 30


def conditions_of(
    report: MeasurementReport, context: DeviceContext, gates: PhoneSettings
) -> tuple[Condition, ...]:
    """Return the conditions that were seen before or after the runs."""
    states = [state for state in (report.before, report.after) if state]
    charges = [state.battery_percent for state in states if state.battery_percent is not None]
    seen = {
        Condition.POWER_SAVER: any(state.power_saver for state in states),
        Condition.DEBUG_BUILD: context.debuggable is True,
        Condition.MIRRORED: any(state.mirrored for state in states),
        Condition.CHARGING: any(state.charging for state in states),
        Condition.NOT_BOUND: report.cores_error is not None,
        Condition.LOW_BATTERY: bool(charges) and min(charges) < gates.min_battery_percent,
    }
    return tuple(condition for condition, holds in seen.items() if holds)


def reason_to_pause(state: DeviceState, gates: PhoneSettings, max_thermal_status: int) -> str | None:
    """Return why a phone should take no work now: low battery, too warm, or its battery saver."""
    if state.battery_percent is not None and state.battery_percent < gates.min_battery_percent:
        return f"battery at {state.battery_percent:g} %, below {gates.min_battery_percent:g} %"
    battery_c = state.temperatures_c.get("battery")
    if state.power_saver:
        return "its battery saver is on: switch it off"
    if battery_c is not None and battery_c > gates.max_battery_c:
        return f"battery at {battery_c:g} degrees, above {gates.max_battery_c:g}"
    if state.thermal_status is not None and state.thermal_status > max_thermal_status:
        return f"thermal status {state.thermal_status}, above {max_thermal_status}"
    return None


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
