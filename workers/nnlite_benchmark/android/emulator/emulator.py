"""Lifecycle of this worker's emulator: its AVD, its ports and its process.

Headless, on its own port pair, with an AVD folder that no other worker uses. It
is ended by PID, with its whole process group.
"""

import os
import subprocess
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from nnlite.errors import Stopped
from nnlite.host.child_process import OwnedProcess, environment_without_settings
from nnlite.host.locks import LockTimeout
from nnlite.settings import SettingsError
from nnlite.settings.groups import EmulatorSettings
from nnlite.vocabulary import DeviceKind, Fault
from nnlite_benchmark.android.adb.client import AdbClient
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.android.adb.transport import emulator_failure
from nnlite_benchmark.android.emulator import avd
from nnlite_benchmark.android.emulator.ports import PortPair, stagger
from nnlite_benchmark.device import RecoveryStep

log = structlog.get_logger()

_CHECK_TIMEOUT_S: Final = 30.0
#: Share of the 20 s within which a worker must stop, seconds.
_LAST_STOP_TIMEOUT_S: Final = 8.0


class Emulator:
    """An emulator that runs one AVD; a `DeviceTransport`."""

    kind = DeviceKind.EMULATOR
    uses_host_cores = True
    usb_serial = None
    absent_hint = "its log lies in the device's folder: emulator.log"

    def __init__(
        self, name: str, settings: EmulatorSettings, home: Path, folder: Path, cores: Collection[int] = ()
    ) -> None:
        """Find or create the AVD; nothing is started yet.

        Args:
            name: of the AVD.
            settings: the AVD's configuration and the emulator's options.
            home: NNLITE_HOME, with the port locks and, unless the settings say otherwise, the AVDs.
            folder: of this device; becomes the emulator's HOME.
            cores: the logical processors that it may use; empty: all.

        Raises:
            SettingsError: no SDK, no system image, or no hardware acceleration.
        """
        self.name: Final = name
        self._settings = settings
        self._home = home
        self._folder = folder
        self._cores = frozenset(cores)
        self._sdk = avd.sdk_folder(settings)
        if settings.acceleration:
            _check_acceleration(self._sdk)
        self._avd_home = settings.avd_home or home / "avd"
        self._avd = avd.find_or_create(name, self._avd_home, settings)
        self._process = OwnedProcess("emulator", folder)
        self._process.end_orphan()
        self._ports: PortPair | None = None

    @property
    def serial(self) -> str:
        """adb's serial of an emulator: its console port."""
        return f"emulator-{self._ports.console}" if self._ports else f"emulator of {self.name}"

    @property
    def pid(self) -> int | None:
        """PID of the process while it runs."""
        return self._process.pid

    def start(self, server_port: int, stop: threading.Event) -> None:
        """Start it unless it runs, staggered with others of this host; raises `emulator_failed`, Stopped."""
        if not self._process.alive:
            from_snapshot = self._settings.snapshot_boot
            self._start(server_port, stop, "-no-snapshot-save" if from_snapshot else "-no-snapshot")

    def _start(self, server_port: int, stop: threading.Event, *boot: str) -> None:
        self._end(self._settings.stop_timeout_s)
        if removed := avd.remove_stale_locks(self._avd):
            log.info("stale locks of the AVD are removed", avd=self.name, locks=removed)
        try:
            wait_s = stagger(self._home / "ports" / "last-start", self._settings.start_stagger_s)
            if stop.wait(wait_s):
                raise Stopped("stopped before the emulator was started")
            self._ports = PortPair.take(self._home / "ports", self._settings.first_port)
            self._process.start(self._command_line(self._ports, *boot), self._environment(server_port))
        except (OSError, LockTimeout) as error:
            raise emulator_failure(
                Fault.EMULATOR_FAILED, f"the emulator of {self.name} cannot be started: {error}", ""
            ) from error
        self._pin_to_cores()
        log.info("emulator started", avd=self.name, port=self._ports.console, pid=self.pid, boot=boot)

    def announce(self, client: AdbClient) -> None:
        """Register the emulator's adbd port with the adb server, which does not scan for emulators."""
        if self._ports is not None:
            client.announce_emulator(self._ports.adb)

    def check(self) -> None:
        """Raise `emulator_gone` if its process has ended."""
        if not self._process.alive:
            raise emulator_failure(
                Fault.EMULATOR_GONE,
                f"the emulator of {self.name} {self._process.how_it_ended}",
                self._process.log_tail() if (self._process.exit_status or 0) >= 0 else "",
            )

    def recovery_steps(
        self, shell: Shell, server_port: Callable[[], int], stop: threading.Event
    ) -> Sequence[RecoveryStep]:
        """Return: cold restart, whatever the settings say about snapshots; restart with wiped data."""

        def restart(*boot: str) -> None:
            self._start(server_port(), stop, "-no-snapshot", *boot)

        return (
            RecoveryStep(name="restart the emulator", run=restart),
            RecoveryStep(name="wipe its data", run=lambda: restart("-wipe-data")),
        )

    def stop(self) -> None:
        """Stop it, within the time that a stopping worker has."""
        self._end(min(self._settings.stop_timeout_s, _LAST_STOP_TIMEOUT_S))

    def _end(self, timeout_s: float) -> None:
        """Stop it and release its ports; raises `emulator_failed` if it survives SIGKILL."""
        try:
            self._process.stop(timeout_s)
        except TimeoutError as error:
            raise emulator_failure(
                Fault.EMULATOR_FAILED, f"the emulator of {self.name}: {error}", ""
            ) from error
        if self._ports is not None:
            self._ports.release()
            self._ports = None

    def _command_line(self, ports: PortPair, *boot: str) -> list[str]:
        settings = self._settings
        return [
            str(avd.emulator_program(self._sdk)),
            *("-avd", self.name),
            *("-port", str(ports.console)),
            *("-no-window", "-no-audio", "-no-boot-anim"),
            *boot,
            *("-gpu", settings.gpu),
            *("-memory", str(settings.memory_mb)),
            *("-cores", str(settings.cores)),
            *(() if settings.acceleration else ("-accel", "off")),
        ]

    def _environment(self, server_port: int) -> dict[str, str]:
        return environment_without_settings() | {
            "HOME": str(self._folder),
            "ANDROID_HOME": str(self._sdk),
            "ANDROID_SDK_ROOT": str(self._sdk),
            "ANDROID_AVD_HOME": str(self._avd_home),
            "ANDROID_ADB_SERVER_PORT": str(server_port),
        }

    def _pin_to_cores(self) -> None:
        if self._cores and (pid := self._process.pid) is not None and hasattr(os, "sched_setaffinity"):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(pid, self._cores)


def _check_acceleration(sdk: Path) -> None:
    """Check that the emulator can use hardware virtualization.

    Raises:
        SettingsError: it cannot; with the emulator's own message.
    """
    try:
        checked = subprocess.run(
            [str(avd.emulator_program(sdk)), "-accel-check"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_CHECK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SettingsError(f"{avd.emulator_program(sdk)} -accel-check: {error}") from error
    if checked.returncode != 0:
        output = " ".join(f"{checked.stdout} {checked.stderr}".split())[:500]
        raise SettingsError(
            f"no hardware acceleration for the emulator (KVM): {output}; "
            "NNLITE_EMULATOR__ACCELERATION=false starts without it, very slowly"
        )
