"""Readiness checks of a device: connected, booted, unlocked, no blocking dialog, enough free space.

Each check is polled until it holds or its own deadline passes; then the last
failure is raised.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from nnlite.errors import Stopped
from nnlite.settings.groups import AndroidSettings
from nnlite.vocabulary import Fault, Stage
from nnlite_benchmark.android.adb.client import ADB_ERRORS, PollCallback
from nnlite_benchmark.android.adb.files import DeviceFiles
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.android.adb.states import fault_of_state, hint_for_state
from nnlite_benchmark.android.properties.parsers import free_kb
from nnlite_benchmark.android.screen import Screen
from nnlite_benchmark.device import DeviceFailure

#: States of Android's `UserState` in which an app cannot start, because its data is still encrypted.
_LOCKED: Final = ("BOOTING", "RUNNING_LOCKED", "RUNNING_UNLOCKING")
#: Interval of announcing the device to an adb server that does not list it, seconds.
_ANNOUNCE_S: Final = 1.0


class Readiness:
    """Waits until one device is ready; for a single use."""

    def __init__(
        self,
        shell: Shell,
        settings: AndroidSettings,
        *,
        announce: Callable[[], None],
        absent_hint: str,
        check_alive: PollCallback,
        stop: threading.Event,
    ) -> None:
        """Configure the wait.

        Args:
            shell: of the device.
            settings: every deadline.
            announce: registers the device with the adb server; may raise `ADB_ERRORS`.
            absent_hint: hint for users when the adb server does not list the device.
            check_alive: raises DeviceFailure when the emulator or the adb server has ended.
            stop: cancels every wait with `Stopped`.
        """
        self._shell = shell
        self._settings = settings
        self._announce = announce
        self._absent_hint = absent_hint
        self._check_alive = check_alive
        self._stop = stop
        self._screen = Screen(shell)
        #: The user whose apps are on the screen; known after `wait`. User 0 of some devices has no screen.
        self.user = 0

    def wait(self) -> None:
        """Return when the device is ready for the app and the canary.

        Raises:
            DeviceFailure: a check failed until its deadline.
            Stopped: the worker was asked to stop.
        """
        settings, ready_s = self._settings, self._settings.ready_timeout_s
        self.wait_connected()
        self._until("sys.boot_completed=1", Fault.BOOT_TIMEOUT, settings.boot_timeout_s, self._has_booted)
        self._until("the end of the boot animation", Fault.BOOT_TIMEOUT, ready_s, self._has_animation_ended)
        self._until("the package manager", Fault.BOOT_TIMEOUT, ready_s, self._has_package_manager)
        self.user = _user(self._shell.shell_output("am get-current-user"))
        self._until("the first unlock", Fault.OWNER_NEEDED, ready_s, self._is_unlocked)
        self._screen.prevent_dialogs()
        window = "a window without a 'not responding' dialog"
        self._until(window, Fault.NOT_RESPONDING, ready_s, self._screen.close_dialog)
        space = f"{settings.min_free_mb} MiB of free space in /data"
        self._until(space, Fault.STORAGE_FULL, ready_s, self._has_freed_space)
        self._screen.prepare()

    def wait_connected(self) -> None:
        """Return when the adb server shows the device as `device`.

        Raises:
            DeviceFailure: `disconnected`, `offline` or `unauthorized`: the state at the deadline.
            Stopped: the worker was asked to stop.
        """
        limit_s = self._settings.connect_timeout_s
        deadline_s = time.monotonic() + limit_s
        announce_at_s = 0.0
        announce_error = None
        while (state := self._shell.state()) != "device":
            self._check_alive()
            if time.monotonic() > deadline_s:
                hints = [hint_for_state(state)] if state else [announce_error, self._absent_hint]
                reason = f"{self._shell.serial} is {state or 'unknown to adb'} for {limit_s:g} s"
                raise DeviceFailure(
                    fault_of_state(state), Stage.PREPARE, "; ".join([reason, *filter(None, hints)])
                )
            if state is None and time.monotonic() >= announce_at_s:
                announce_error = self._try_announcing()
                announce_at_s = time.monotonic() + _ANNOUNCE_S
            self._pause()

    def _try_announcing(self) -> str | None:
        """Announce the device; return adb's error, if any: the device may not be there yet."""
        try:
            self._announce()
        except ADB_ERRORS as error:
            return f"adb says: {error}"
        return None

    def _until(self, what: str, fault: Fault, timeout_s: float, holds: Callable[[], bool]) -> None:
        """Poll `holds`; at the deadline raise its last DeviceFailure, or one with `fault`."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            failure = None
            self._check_alive()
            try:
                if holds():
                    return
            except DeviceFailure as error:
                failure = error
            if time.monotonic() > deadline_s:
                reason = f"{self._shell.serial}: timed out after {timeout_s:g} s waiting for {what}"
                raise failure or DeviceFailure(fault, Stage.PREPARE, reason)
            self._pause()

    def _pause(self) -> None:
        if self._stop.wait(self._settings.poll_s):
            raise Stopped(f"stopped while waiting for {self._shell.serial} to be ready")

    def _has_booted(self) -> bool:
        return self._shell.shell_output("getprop sys.boot_completed").strip() == "1"

    def _has_animation_ended(self) -> bool:
        return self._shell.shell_output("getprop init.svc.bootanim").strip() in ("stopped", "")

    def _has_package_manager(self) -> bool:
        return self._shell.shell_output("pm path android").startswith("package:")

    def _is_unlocked(self) -> bool:
        """Return whether the current user was unlocked since the boot; without a PIN that happens by itself.

        Raises:
            DeviceFailure: it was not.
        """
        state = self._shell.shell_output(f"am get-started-user-state {self.user}").strip()
        if state not in _LOCKED:
            return True
        reason = f"{self._shell.serial} was not unlocked since it started: unlock its screen once"
        raise DeviceFailure(Fault.OWNER_NEEDED, Stage.PREPARE, reason)

    def _has_freed_space(self) -> bool:
        """Return whether /data has enough free space; cleans up if not."""
        if self._has_space():
            return True
        DeviceFiles(self._shell).clean()
        return self._has_space()

    def _has_space(self) -> bool:
        free = free_kb(self._shell.shell_output("df -k /data"))
        return free is None or free >= self._settings.min_free_mb * 1024


def _user(text: str) -> int:
    """Return the user of `am get-current-user`; 0 if it prints anything else."""
    number = text.strip()
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0
