"""Maps the device states of an adb server (`offline`, `unauthorized`...) to faults and to hints for users."""

from typing import Final

from nnlite.vocabulary import Fault

_FAULTS: Final = {
    "offline": Fault.OFFLINE,
    "connecting": Fault.OFFLINE,
    "authorizing": Fault.UNAUTHORIZED,
    "unauthorized": Fault.UNAUTHORIZED,
    "no permissions": Fault.UNAUTHORIZED,
}

_ADVICE: Final = {
    "unauthorized": "accept this host's key on its screen",
    "offline": "check its cable, or reboot it",
    "no permissions": "let this account use USB devices: udev rules, group plugdev",
    "authorizing": "accept this host's key on its screen",
    "recovery": "it is in recovery mode: choose 'Reboot system now' on it, or `adb reboot`",
    "sideload": "it waits for a package by `adb sideload`: `adb reboot` ends that",
    "rescue": "it is in rescue mode: choose 'Reboot system now' on it; its data may be damaged",
    "bootloader": "it is in its bootloader: choose 'Start' on it, or `fastboot reboot`",
}


def fault_of_state(state: str | None) -> Fault:
    """Return the fault for a state other than `device`; a `state` of None: the server does not list it."""
    return Fault.DISCONNECTED if state is None else _FAULTS.get(_plain(state), Fault.OFFLINE)


def hint_for_state(state: str | None) -> str | None:
    """Return what the user can do about the state, if anything is known."""
    return _ADVICE.get(_plain(state)) if state else None


def _plain(state: str) -> str:
    """Return the state without adb's additions: `no permissions (user x is not in ...); see [http://...]`."""
    return "no permissions" if state.startswith("no permissions") else state
