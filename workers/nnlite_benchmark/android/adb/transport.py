"""How a device hangs on this host: an emulator of ours, a phone on USB, or an address.

An transport knows what to start, how the adb server learns of the device, and
which recovery_steps of the ladder it brings; everything else is the same for all.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from adbutils.errors import AdbError

from nnlite.vocabulary import DeviceKind, Fault, Stage
from nnlite_benchmark.android.adb.client import Wire
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.device import DeviceFailure, RecoveryStep

_ABSENT_USB: Final = (
    "is this its serial, is it plugged in with USB debugging on, and does no other adb server of this host "
    "hold it (`adb devices` says so, `adb kill-server` ends that)?"
)
_ABSENT_TCP: Final = "is it on, and does its adbd listen there (`adb tcpip PORT` over USB)?"


class DeviceTransport(Protocol):
    """What `AndroidDevice` asks of the way in which a device is attached."""

    @property
    def serial(self) -> str:
        """As the adb server calls the device."""
        ...

    @property
    def usb_serial(self) -> str | None:
        """The phone on USB that the adb server may see; None: no USB."""
        ...

    @property
    def kind(self) -> DeviceKind:
        """What it is, as far as the way of attaching tells."""
        ...

    @property
    def cores_matter(self) -> bool:
        """Whether it computes on this host's cores."""
        ...

    @property
    def absent(self) -> str:
        """What people can do about it when the adb server does not know the device."""
        ...

    def start(self, server_port: int, stop: threading.Event) -> None:
        """Start what there is to start, if it does not run; raises DeviceFailure or Stopped."""
        ...

    def announce(self, wire: Wire) -> None:
        """Tell the adb server of the device; raises one of `ADB_ERRORS`."""
        ...

    def check(self) -> None:
        """Raise DeviceFailure if what was started has ended."""
        ...

    def restarts(
        self, shell: Shell, server_port: Callable[[], int], stop: threading.Event
    ) -> Sequence[RecoveryStep]:
        """Return the recovery_steps that start the device anew, the mildest first.

        Args:
            shell: of the device.
            server_port: returns the adb server's port, which may be another by the time of a climb.
            stop: ends every wait with `Stopped`.
        """
        ...

    def stop(self) -> None:
        """End what was started, in little time."""
        ...


class Phone:
    """A phone, on USB or at an address; nothing is started, and a reboot is all that can be done."""

    kind = DeviceKind.PHONE
    cores_matter = False

    def __init__(self, serial: str, *, usb: bool) -> None:
        """Args: `serial` as adb calls it; for a phone at an address that is HOST:PORT."""
        self.serial = serial
        self.usb_serial = serial if usb else None
        self.absent = _ABSENT_USB if usb else _ABSENT_TCP

    def start(self, server_port: int, stop: threading.Event) -> None:
        """A phone is there or not."""

    def announce(self, wire: Wire) -> None:
        """USB phones are found; one at an address is connected to."""
        if self.usb_serial is not None:
            return
        answer = wire.connect(self.serial)
        if "connected" not in answer:
            raise AdbError(answer)

    def check(self) -> None:
        """Nothing of ours can have ended."""

    def restarts(
        self, shell: Shell, server_port: Callable[[], int], stop: threading.Event
    ) -> Sequence[RecoveryStep]:
        """Reboot it."""
        return (RecoveryStep(name="reboot the phone", climb=shell.reboot),)

    def stop(self) -> None:
        """Nothing was started."""


def emulator_failure(fault: Fault, reason: str, log: str) -> DeviceFailure:
    """Return the failure of an emulator with the end of what it printed."""
    last = log.rpartition("\n")[2][:300]
    return DeviceFailure(fault, Stage.PREPARE, f"{reason}{f': {last}' if last else ''}", {"log": log})
