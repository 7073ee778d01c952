"""Conditions of a phone: what spoils a number is named in its row; in some it takes no work."""

from nnlite.reports.schema import DeviceContext, DeviceState, MeasurementReport
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
