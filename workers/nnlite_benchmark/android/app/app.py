"""The benchmark app on a device: installed when its hash differs, ended when it must be.

What `pm install` says no with decides what is done before it is asked once
more; `installing` has the rules.
"""

import shlex
from pathlib import Path
from typing import Final

import structlog

from nnlite.artifacts.store import file_sha256
from nnlite.settings import SettingsError
from nnlite.settings.groups import AndroidSettings
from nnlite.vocabulary import Fault, Stage
from nnlite_benchmark.android.adb.files import DeviceFiles
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.android.app.installing import Remedy, parse_install, remedy_for
from nnlite_benchmark.device import DeviceFailure

log = structlog.get_logger()

PACKAGE: Final = "org.nnlite.benchmark"
APK_NAME: Final = "nnlite-benchmark.apk"
_TRIES: Final = 3


class App:
    """The app of one device."""

    def __init__(self, shell: Shell, apk: Path, settings: AndroidSettings) -> None:
        """Args: `apk` is the package to install, as `find_apk` returns it."""
        self._shell = shell
        self._apk = apk
        self._sha256 = file_sha256(apk)
        self._settings = settings
        self._files = DeviceFiles(shell)

    def ensure_installed(self) -> None:
        """Install the app unless the very same package is installed.

        Raises:
            DeviceFailure: `storage_full` or `install_failed`, in the device's words.
        """
        if self._installed_sha256() == self._sha256:
            return
        remote = self._files.put(self._apk, APK_NAME, self._sha256)
        try:
            self._install(remote)
        finally:
            self._files.try_removing([remote])
        if (installed := self._installed_sha256()) != self._sha256:
            raise self._failure(Fault.INSTALL_FAILED, f"installed, but its hash is {installed or 'unknown'}")
        log.info("app installed", serial=self._shell.serial)

    def uninstall(self) -> None:
        """Remove the app and everything of ours, so that it is installed anew."""
        self._shell.run(f"pm uninstall {PACKAGE}", timeout_s=self._settings.install_timeout_s)
        self._files.clean()

    def try_force_stop(self) -> None:
        """End the app's process; a device that does not answer has ended it its own way."""
        try:
            with self._shell.cleanup_mode():
                self._shell.run(f"am force-stop {PACKAGE}")
        except DeviceFailure as failure:
            log.info("the app may still run", serial=self._shell.serial, reason=failure.reason)

    def _install(self, remote: str) -> None:
        for attempt in range(1, _TRIES + 1):
            answer = self._shell.run(
                f"pm install -r -d -g --user 0 {shlex.quote(remote)}",
                timeout_s=self._settings.install_timeout_s,
            )
            outcome = parse_install(answer.text)
            if outcome.reason is None:
                return
            remedy = remedy_for(outcome.reason)
            log.warning("the app is not installed", reason=outcome.reason, remedy=remedy, attempt=attempt)
            if remedy is Remedy.GIVE_UP or attempt == _TRIES:
                is_full = remedy is Remedy.CLEAN
                fault = Fault.STORAGE_FULL if is_full else Fault.INSTALL_FAILED
                raise self._failure(fault, f"{outcome.reason}: {outcome.text}")
            self._remedy(remedy)

    def _remedy(self, remedy: Remedy) -> None:
        if remedy is Remedy.RETRY:
            self._shell.pause(self._settings.install_pause_s)
        elif remedy is Remedy.UNINSTALL:
            self._shell.run(f"pm uninstall {PACKAGE}", timeout_s=self._settings.install_timeout_s)
        elif remedy is Remedy.CLEAN:
            self._files.clean(keep=APK_NAME)

    def _installed_sha256(self) -> str | None:
        listed = self._shell.ask(f"pm path --user 0 {PACKAGE}")
        for line in listed.splitlines():
            if line.startswith("package:"):
                return self._files.sha256_of(line.removeprefix("package:").strip())
        return None

    def _failure(self, fault: Fault, reason: str) -> DeviceFailure:
        return DeviceFailure(fault, Stage.PREPARE, f"{self._shell.serial}: the app: {reason}")


def find_apk(settings: AndroidSettings, home: Path) -> Path:
    """Return the package to install.

    Raises:
        SettingsError: there is none.
    """
    apk = settings.apk or home / APK_NAME
    if not apk.is_file():
        raise SettingsError(
            f"no benchmark app at {apk}: `make apk` builds it; copy it there or set NNLITE_ANDROID__APK"
        )
    return apk
