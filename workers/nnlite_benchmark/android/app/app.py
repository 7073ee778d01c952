"""Installs, uninstalls and force-stops the benchmark app on a device.

The app is installed if its hash differs. The error of `pm install` decides what
is done before the next try; the rules are in `installing`.
"""

import shlex
from pathlib import Path
from typing import Final

import structlog

from nnlite.host.files import file_sha256
from nnlite.settings import SettingsError
from nnlite.settings.groups import AndroidSettings
from nnlite.vocabulary import Fault, Stage
from nnlite_benchmark.android.adb.files import DeviceFiles
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.android.app.crashes import PACKAGE
from nnlite_benchmark.android.app.installing import Remedy, advice_for, parse_install, remedy_for
from nnlite_benchmark.android.app.page_size import page_size, too_small
from nnlite_benchmark.device import DeviceFailure

log = structlog.get_logger()

APK_NAME: Final = "nnlite-benchmark.apk"
_TRIES: Final = 3


class App:
    """The benchmark app on one device."""

    def __init__(self, shell: Shell, apk: Path, settings: AndroidSettings) -> None:
        """Args: `apk` is the package to install, see `find_apk`."""
        self._shell = shell
        self._apk = apk
        #: Of the package: it has one version of the runtime.
        self.sha256 = file_sha256(apk)
        self._settings = settings
        self._files = DeviceFiles(shell)
        #: The Android user that it is installed for and runs as.
        self.user = 0

    def ensure_installed(self) -> bool:
        """Install the app unless the same package (by hash) is installed; return whether it was installed.

        Raises:
            DeviceFailure: `storage_full` or `install_failed`, with the device's message; `owner_needed`, with
                what to switch on.
        """
        self._require_page_size()
        if self._installed_sha256() == self.sha256:
            return False
        remote = self._files.put(self._apk, APK_NAME, self.sha256)
        try:
            self._install(remote)
        finally:
            self._files.try_removing([remote])
        if (installed := self._installed_sha256()) != self.sha256:
            raise self._failure(Fault.INSTALL_FAILED, f"installed, but its hash is {installed or 'unknown'}")
        log.info("app installed", serial=self._shell.serial)
        return True

    def uninstall(self) -> None:
        """Uninstall the app and remove nnlite's files, so that the next check installs it again."""
        self._shell.run(f"pm uninstall {PACKAGE}", timeout_s=self._settings.install_timeout_s)
        self._files.clean()

    def remove_leftovers(self) -> None:
        """Remove the files of runs that could not: their device was unplugged, or their worker killed.

        Call it when no run is in progress; a device that becomes ready has none.
        """
        storage = f"/storage/emulated/{self.user}/Android"
        self._files.remove_all()
        self._shell.run(f"rm -rf {storage}/media/{PACKAGE}/* {storage}/data/{PACKAGE}/cache/*")

    def try_force_stop(self) -> None:
        """Force-stop the app, best effort: a failure of the device is only logged."""
        try:
            with self._shell.cleanup_mode():
                self._shell.run(f"am force-stop {PACKAGE}")
        except DeviceFailure as failure:
            log.info("the app may still run", serial=self._shell.serial, reason=failure.reason)

    def _install(self, remote: str) -> None:
        for attempt in range(1, _TRIES + 1):
            result = self._shell.run(
                f"pm install -r -d --user {self.user} {shlex.quote(remote)}",
                timeout_s=self._settings.install_timeout_s,
            )
            outcome = parse_install(result.text)
            if outcome.reason is None:
                return
            remedy = remedy_for(outcome.reason)
            log.warning("the app is not installed", reason=outcome.reason, remedy=remedy, attempt=attempt)
            if remedy is Remedy.ASK_OWNER:
                raise self._failure(
                    Fault.OWNER_NEEDED, f"{advice_for(outcome.reason)} ({outcome.reason}: {outcome.text})"
                )
            if remedy is Remedy.GIVE_UP or attempt == _TRIES:
                is_full = remedy is Remedy.CLEAN
                fault = Fault.STORAGE_FULL if is_full else Fault.INSTALL_FAILED
                raise self._failure(fault, f"{outcome.reason}: {outcome.text}")
            self._apply(remedy)

    def _apply(self, remedy: Remedy) -> None:
        if remedy is Remedy.RETRY:
            self._shell.pause(self._settings.install_pause_s)
        elif remedy is Remedy.UNINSTALL:
            self._shell.run(f"pm uninstall {PACKAGE}", timeout_s=self._settings.install_timeout_s)
        elif remedy is Remedy.CLEAN:
            self._files.clean(keep=APK_NAME)

    def _require_page_size(self) -> None:
        """Raise `owner_needed` if the device's memory pages are larger than the app's libraries allow."""
        shown = self._shell.shell_output("getconf PAGE_SIZE; getprop ro.product.cpu.abi").splitlines()
        page_bytes = page_size(shown[0]) if len(shown) == 2 else None
        if page_bytes is None:
            return
        abi = shown[1].strip()
        try:
            libraries = too_small(self._apk, abi, page_bytes)
        except ValueError as error:
            raise SettingsError(str(error)) from error
        if libraries:
            name, alignment = next(iter(libraries.items()))
            raise self._failure(
                Fault.OWNER_NEEDED,
                f"it cannot run here: memory pages are {page_bytes // 1024} kB, and {name} ({abi}) is built "
                f"for {alignment // 1024} kB; build the app with LiteRT (android_app/README.md) and set "
                "NNLITE_ANDROID__APK",
            )

    def _installed_sha256(self) -> str | None:
        for line in self._shell.shell_output(f"pm path --user {self.user} {PACKAGE}").splitlines():
            if line.startswith("package:"):
                return self._files.sha256_of(line.removeprefix("package:").strip())
        return None

    def _failure(self, fault: Fault, reason: str) -> DeviceFailure:
        return DeviceFailure(fault, Stage.PREPARE, f"{self._shell.serial}: the app: {reason}")


def find_apk(settings: AndroidSettings, home: Path) -> Path:
    """Return the package to install.

    Raises:
        SettingsError: it does not exist; the message says how to build it.
    """
    apk = settings.apk or home / APK_NAME
    if not apk.is_file():
        raise SettingsError(
            f"no benchmark app at {apk}: `make apk` in a checkout builds it; "
            "copy it there or set NNLITE_ANDROID__APK"
        )
    return apk
