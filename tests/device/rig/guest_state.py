"""Battery, temperatures and user of a virtual device, as tests set them.

The file is one that the device's shell scripts can source.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from device.rig.files import replace_text

_FILE = "state"
#: Where the device itself finds it.
_FOLDER = Path("/rig/faults")


@dataclass(frozen=True, kw_only=True)
class State:
    """Battery and thermal state, and who has the screen."""

    battery_percent: int = 100
    battery_c: float = 25.0
    charging: bool = True
    #: PowerManager.THERMAL_STATUS_*
    thermal_status: int = 0
    #: The current user; that of some devices is not 0.
    user: int = 0


def read_state(folder: Path = _FOLDER) -> State:
    """Return the state as set."""
    file = folder / _FILE
    if not file.exists():
        return State()
    values = dict(line.split("=", 1) for line in file.read_text().splitlines())
    return State(
        battery_percent=int(values["battery_percent"]),
        battery_c=int(values["battery_tenths_c"]) / 10,
        charging=values["charging"] == "true",
        thermal_status=int(values["thermal_status"]),
        user=int(values["user"]),
    )


def write_state(folder: Path, state: State) -> None:
    """Set the state, in the folder of the device's faults."""
    folder.mkdir(parents=True, exist_ok=True)
    values = asdict(state)
    values["battery_tenths_c"] = round(values.pop("battery_c") * 10)
    values["charging"] = "true" if state.charging else "false"
    replace_text(folder / _FILE, "".join(f"{name}={value}\n" for name, value in values.items()))
