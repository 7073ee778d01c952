"""Device transports: connect, start and recover a local emulator or a phone on USB or TCP.

A transport knows what to start, how the device is registered with the adb
server, and which recovery steps it adds; everything else is the same for all.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Final

from adbutils.errors import AdbError

from nnlite.vocabulary import DeviceKind, Fault, Stage
from nnlite_benchmark.android.adb.client import AdbClient
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.device import DeviceFailure, RecoveryStep

_ABSENT_USB: Final = (
    "is this its serial, is it plugged in with USB debugging on, and does no other adb server of this host "
    "hold it (`adb devices` shows that, `adb kill-server` ends it)?"
)
_ABSENT_TCP: Final = "is it on, and does its adbd listen there (`adb tcpip PORT` over USB)?"


class DeviceTransport:
    """A connection type, as `AndroidDevice` uses it; what it does not define does nothing."""

    #: Serial of the device on the adb server.
    serial: str
    #: Serial of the USB device that the adb server may see; None: no USB.
    usb_serial: str | None
    #: Kind of the device, as far as the connection type tells.
    kind: DeviceKind
    #: Whether the device runs on this host's cores.
    uses_host_cores: bool
    #: Hint for users when the adb server does not list the device.
    absent_hint: str

    def start(self, server_port: int, stop: threading.Event) -> None:
        """Start the emulator unless it runs; raises DeviceFailure or Stopped."""

    def boot_over(self) -> None:
        """Note that the device has booted, or has failed to."""

    def boot_cold_instead(self, reason: str, server_port: int, stop: threading.Event) -> bool:
        """Start the device in the slower way if it was started in a faster one and was not ready since.

        Args:
            reason: why it is not ready.
            server_port: of the adb server.
            stop: cancels the wait.

        Returns:
            Whether it was started again.
        """
        return False

    def ready(self, stop: threading.Event, *, changed: bool) -> None:
        """Note that the device is ready.

        Args:
            stop: cancels what is done then.
            changed: whether the app was installed on it since it was started.
        """

    def announce(self, client: AdbClient) -> None:
        """Register the device with the adb server; raises one of `ADB_ERRORS`."""

    def check(self) -> None:
        """Raise DeviceFailure if the emulator's process has ended."""

    def recovery_steps(
        self, shell: Shell, server_port: Callable[[], int], stop: threading.Event
    ) -> Sequence[RecoveryStep]:
        """Return the recovery steps that restart the device, least disruptive first.

        Args:
            shell: of the device.
            server_port: returns the adb server's port, which may have changed when a step runs.
            stop: cancels every wait with `Stopped`.
        """
        return ()

    def stop(self) -> None:
        """Stop the emulator, quickly."""


class Phone(DeviceTransport):
    """A phone, on USB or TCP; nothing is started, and its only recovery step is a reboot."""

    kind = DeviceKind.PHONE
    uses_host_cores = False

    def __init__(self, serial: str, *, usb: bool) -> None:
        """Args: `serial` on the adb server; HOST:PORT for a phone on TCP."""
        self.serial = serial
        self.usb_serial = serial if usb else None
        self.absent_hint = _ABSENT_USB if usb else _ABSENT_TCP

    def announce(self, client: AdbClient) -> None:
        """Connect to a phone on TCP; the adb server finds USB phones itself."""
        if self.usb_serial is not None:
            return
        reply = client.connect(self.serial)
        if "connected" not in reply:
            raise AdbError(reply)

    def recovery_steps(
        self, shell: Shell, server_port: Callable[[], int], stop: threading.Event
    ) -> Sequence[RecoveryStep]:
        """Return one step: reboot."""
        return (RecoveryStep(name="reboot the phone", run=shell.reboot),)


def emulator_failure(fault: Fault, reason: str, log: str) -> DeviceFailure:
    """Return an emulator's failure with the end of its log."""
    last_line = log.rpartition("\n")[2][:300]
    return DeviceFailure(
        fault, Stage.PREPARE, f"{reason}{f': {last_line}' if last_line else ''}", {"log": log}
    )
