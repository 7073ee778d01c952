"""Ready: the system has booted, nothing is in the way, and there is space.

Each check has a deadline of its own. What is not an answer yet is asked again
until then; then the last fault that was seen is the one that counts.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from nnlite.errors import Stopped
from nnlite.settings.groups import AndroidSettings
from nnlite.vocabulary import Fault, Stage
from nnlite_benchmark.android.adb.client import ADB_ERRORS, Look
from nnlite_benchmark.android.adb.files import DeviceFiles
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.android.adb.states import advice_on_state, fault_of_state
from nnlite_benchmark.android.properties.parsers import free_kb
from nnlite_benchmark.device import DeviceFailure

#: In the name of the focused window while the system waits for an app that hangs.
_DIALOG_WORDS: Final = ("Application Not Responding", "isn't responding", "Application Error")
#: Between two announcements to an adb server that does not show the device, seconds.
_ANNOUNCE_S: Final = 1.0


class Readiness:
    """Waits for one device; made anew for each wait."""

    def __init__(
        self,
        shell: Shell,
        settings: AndroidSettings,
        *,
        announce: Callable[[], None],
        absent: str,
        look: Look,
        stop: threading.Event,
    ) -> None:
        """Describe the wait.

        Args:
            shell: of the device.
            settings: every deadline.
            announce: tells the adb server of the device; may raise `ADB_ERRORS`.
            absent: what people can do about a device that adb does not know.
            look: raises DeviceFailure when the emulator or the adb server has ended.
            stop: ends every wait with `Stopped`.
        """
        self._shell = shell
        self._settings = settings
        self._announce = announce
        self._absent = absent
        self._look = look
        self._stop = stop

    def wait(self) -> None:
        """Return when the device is ready but for the app and the canary.

        Raises:
            DeviceFailure: a check failed for longer than its deadline.
            Stopped: the worker was told to stop.
        """
        settings = self._settings
        self.wait_connected()
        self._until("sys.boot_completed=1", Fault.BOOT_TIMEOUT, settings.boot_timeout_s, self._is_booted)
        self._until(
            "the boot animation's end", Fault.BOOT_TIMEOUT, settings.ready_timeout_s, self._is_animation_over
        )
        self._until(
            "an answer of the package manager",
            Fault.BOOT_TIMEOUT,
            settings.ready_timeout_s,
            self._do_packages_answer,
        )
        self._until(
            "focus without a 'not responding' dialog",
            Fault.NOT_RESPONDING,
            settings.ready_timeout_s,
            self._is_focus_free,
        )
        self._until(
            f"{settings.min_free_mb} MiB of free space in /data",
            Fault.STORAGE_FULL,
            settings.ready_timeout_s,
            self._is_space_free,
        )
        self._prepare_screen()

    def wait_connected(self) -> None:
        """Return when the adb server shows the device as `device`.

        Raises:
            DeviceFailure: `disconnected`, `offline` or `unauthorized`, whichever it was at the deadline.
            Stopped: the worker was told to stop.
        """
        limit_s = self._settings.connect_timeout_s
        deadline_s = time.monotonic() + limit_s
        announce_at_s = 0.0
        said = None
        while (state := self._shell.state()) != "device":
            self._look()
            if time.monotonic() > deadline_s:
                advice = [advice_on_state(state)] if state else [said, self._absent]
                reason = f"{self._shell.serial} is {state or 'unknown to adb'} for {limit_s:g} s"
                raise DeviceFailure(
                    fault_of_state(state), Stage.PREPARE, "; ".join([reason, *filter(None, advice)])
                )
            if state is None and time.monotonic() >= announce_at_s:
                said = self._tried_announcing()
                announce_at_s = time.monotonic() + _ANNOUNCE_S
            self._pause()

    def _tried_announcing(self) -> str | None:
        """Announce the device and return what adb says against it; it may not be there yet."""
        try:
            self._announce()
        except ADB_ERRORS as error:
            return f"adb says: {error}"
        return None

    def _until(self, what: str, fault: Fault, timeout_s: float, holds: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + timeout_s
        while True:
            failure = None
            self._look()
            try:
                if holds():
                    return
            except DeviceFailure as seen:
                failure = seen
            if time.monotonic() > deadline_s:
                reason = f"{self._shell.serial}: no {what} within {timeout_s:g} s"
                raise failure or DeviceFailure(fault, Stage.PREPARE, reason)
            self._pause()

    def _pause(self) -> None:
        if self._stop.wait(self._settings.poll_s):
            raise Stopped(f"stopped while {self._shell.serial} is made ready")

    def _is_booted(self) -> bool:
        return self._shell.ask("getprop sys.boot_completed").strip() == "1"

    def _is_animation_over(self) -> bool:
        return self._shell.ask("getprop init.svc.bootanim").strip() in ("stopped", "")

    def _do_packages_answer(self) -> bool:
        return self._shell.ask("pm path android").startswith("package:")

    def _is_focus_free(self) -> bool:
        focus = self._shell.ask("dumpsys window | grep mCurrentFocus")
        if not any(words in focus for words in _DIALOG_WORDS):
            return True
        self._shell.run("am broadcast -a android.intent.action.CLOSE_SYSTEM_DIALOGS")
        return False

    def _is_space_free(self) -> bool:
        if self._has_space():
            return True
        DeviceFiles(self._shell).clean()
        return self._has_space()

    def _has_space(self) -> bool:
        free = free_kb(self._shell.ask("df -k /data"))
        return free is None or free >= self._settings.min_free_mb * 1024

    def _prepare_screen(self) -> None:
        """Screen on and unlocked, and no animations: only the app in front is scheduled as such."""
        self._shell.run(
            "svc power stayon true; input keyevent KEYCODE_WAKEUP; wm dismiss-keyguard; "
            "settings put global window_animation_scale 0; "
            "settings put global transition_animation_scale 0; "
            "settings put global animator_duration_scale 0"
        )
