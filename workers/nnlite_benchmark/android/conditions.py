"""Conditions of a phone that spoil a number: named in the row, without changing its verdict."""

from nnlite.reports.schema import DeviceContext, MeasurementReport
from nnlite.settings.groups import PhoneSettings
from nnlite.vocabulary import Condition


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
        Condition.LOW_BATTERY: bool(charges) and min(charges) < gates.min_battery_percent,
    }
    return tuple(condition for condition, holds in seen.items() if holds)
