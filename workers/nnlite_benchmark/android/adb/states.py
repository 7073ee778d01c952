"""What an adb server says of a device that is not to be used: which fault that is, and what people can do."""

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
    "offline": "check its cable, or boot it anew",
    "no permissions": "let this account use USB devices: udev rules, group plugdev",
}


def fault_of_state(state: str | None) -> Fault:
    """Return the fault that a state other than `device` is; None: the server does not know the device."""
    return Fault.DISCONNECTED if state is None else _FAULTS.get(_plain(state), Fault.OFFLINE)


def advice_on_state(state: str | None) -> str | None:
    """Return what ends the state; None: nothing in general."""
    return _ADVICE.get(_plain(state)) if state else None


def _plain(state: str) -> str:
    """Return the state without what adb adds: `no permissions (user x is not in ...); see [http://...]`."""
    return "no permissions" if state.startswith("no permissions") else state
