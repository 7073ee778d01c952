"""The screen of an Android device: awake, unlocked, without error dialogs, the app's window in front.

What each Android version does with "not responding" dialogs was read in its own classes; the table is in
`android_app/README.md`.
"""

from typing import Final

import structlog

from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.android.app.request import ACTIVITY

log = structlog.get_logger()

#: In the name of the focused window while an error dialog is shown.
_DIALOG_WORDS: Final = ("Application Not Responding", "isn't responding", "Application Error")
_WAKE: Final = "input keyevent KEYCODE_WAKEUP; wm dismiss-keyguard"
#: Longest name of a window that is reported.
_MAX_FOCUS_CHARS: Final = 300


class Screen:
    """The screen of one device."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def prepare(self) -> None:
        """Turn the screen on, unlock it, disable animations: only a foreground app is scheduled as one."""
        self._shell.run(
            f"svc power stayon true; {_WAKE}; "
            "settings put global window_animation_scale 0; "
            "settings put global transition_animation_scale 0; "
            "settings put global animator_duration_scale 0"
        )

    def prevent_dialogs(self) -> None:
        """Let Android show no more error dialogs; before API 28 it does not know the setting."""
        self._shell.run("settings put global hide_error_dialogs 1")

    def close_dialog(self) -> bool:
        """Return whether no error dialog has the focus; press its button if one has.

        A broadcast of CLOSE_SYSTEM_DIALOGS closes such a dialog only in later versions (34 does, 30 does
        not). It is modal and takes keys from one second after it came up, so keys work in all: down, to
        focus a button, and enter. Either button closes it.
        """
        focus = self.focus()
        if not any(words in focus for words in _DIALOG_WORDS):
            return True
        log.warning("closing a dialog", serial=self._shell.serial, window=focus)
        self._shell.run(
            "am broadcast -a android.intent.action.CLOSE_SYSTEM_DIALOGS; "
            "input keyevent KEYCODE_DPAD_DOWN KEYCODE_DPAD_DOWN KEYCODE_ENTER"
        )
        return False

    def wake(self) -> None:
        """Turn the screen on and unlock it, as far as it has no PIN."""
        self._shell.run(_WAKE)

    def focus(self) -> str:
        """Return the focused window as Android names it."""
        found = self._shell.shell_output("dumpsys window | grep mCurrentFocus")
        return " ".join(found.split())[:_MAX_FOCUS_CHARS]

    def bring_up_app(self, user: int) -> None:
        """Start the activity of the running app from the shell.

        Some phones (Xiaomi) block an activity that an instrumentation starts until "Display pop-up windows
        while running in the background" is allowed for the app; the shell may always start it.
        """
        self._shell.run(f"am start --user {user} -n {ACTIVITY}")
