"""Lifecycle of this worker's emulator: its AVD, its ports and its process.

Headless, on its own port pair, with an AVD folder that no other worker uses. It
is ended by PID, with its whole process group.
"""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from nnlite.host.child_process import OwnedProcess, environment_without_settings
from nnlite.settings import SettingsError
from nnlite.settings.groups import EmulatorSettings
from nnlite.vocabulary import DeviceKind, Fault
from nnlite_benchmark.android.adb.client import AdbClient
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.android.adb.transport import DeviceTransport, emulator_failure
from nnlite_benchmark.android.emulator import avd
from nnlite_benchmark.android.emulator.ports import BootSlot, PortPair
from nnlite_benchmark.android.emulator.snapshot import GoldenSnapshot
from nnlite_benchmark.device import RecoveryStep

log = structlog.get_logger()

_CHECK_TIMEOUT_S: Final = 30.0
#: Share of the 20 s within which a worker must stop, seconds.
_LAST_STOP_TIMEOUT_S: Final = 8.0
_COLD: Final = ("-no-snapshot-load", "-no-snapshot-save")


class Emulator(DeviceTransport):
    """An emulator that runs one AVD."""

    kind = DeviceKind.EMULATOR
    uses_host_cores = True
    usb_serial = None
    absent_hint = "its log lies in the device's folder: emulator.log"

    def __init__(
        self,
        name: str,
        settings: EmulatorSettings,
        home: Path,
        folder: Path,
        cores: Collection[int] = (),
        *,
        turns: Path | None = None,
    ) -> None:
        """Find or create the AVD; nothing is started yet.

        Args:
            name: of the AVD.
            settings: the AVD's configuration and the emulator's options.
            home: NNLITE_HOME, with the port locks and, unless the settings say otherwise, the AVDs.
            folder: of this device; becomes the emulator's HOME.
            cores: the logical processors that it may use; empty: all.
            turns: folder of the locks by which emulators of a machine boot in turn; None: that of the ports.

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
        self._slot = BootSlot(turns or home / "ports", settings.boots_at_once)
        image = self._sdk / avd.image_folder(settings)
        self._snapshot = GoldenSnapshot(
            self._avd, self._sdk, image, self._options, wanted=settings.snapshot_boot
        )
        self._started_s = 0.0
        #: How it was booted, until it is ready: "cold" or "snapshot"; then None.
        self._boot: str | None = None

    @property
    def serial(self) -> str:  # type: ignore[override]
        """adb's serial of an emulator: its console port."""
        return f"emulator-{self._ports.console}" if self._ports else f"emulator of {self.name}"

    @property
    def pid(self) -> int | None:
        """PID of the process while it runs."""
        return self._process.pid

    def start(self, server_port: int, stop: threading.Event) -> None:
        """Start it unless it runs, in turn with those of this host; raises `emulator_failed`, Stopped."""
        if not self._process.alive:
            self._start(server_port, stop)

    def _start(self, server_port: int, stop: threading.Event, *options: str) -> None:
        """Start it: from the snapshot if there is one and no other `options` are given."""
        self._end(self._settings.stop_timeout_s)
        if (other := avd.emulator_of(self.name, self._avd)) is not None:
            raise emulator_failure(
                Fault.EMULATOR_FAILED,
                f"another emulator, process {other}, runs the AVD {self.name}: stop it, or use another AVD",
                "",
            )
        if removed := avd.remove_stale_locks(self._avd):
            log.info("stale locks of the AVD are removed", avd=self.name, locks=removed)
        is_cold = bool(options) or not self._snapshot.is_loadable
        load = ("-snapshot", self._snapshot.name, "-force-snapshot-load", "-no-snapshot-save")
        boot = (*(_COLD if is_cold else load), *options)
        try:
            self._slot.take(stop)
            self._ports = PortPair.take(self._home / "ports", self._settings.first_port)
            self._process.start(self._command_line(self._ports, *boot), self._environment(server_port))
        except OSError as error:
            self._slot.release()
            raise emulator_failure(
                Fault.EMULATOR_FAILED, f"the emulator of {self.name} cannot be started: {error}", ""
            ) from error
        self._pin_to_cores()
        self._boot, self._started_s = ("cold" if is_cold else "snapshot"), time.monotonic()
        log.info("emulator started", avd=self.name, port=self._ports.console, pid=self.pid, boot=self._boot)

    def boot_over(self) -> None:
        """Let another emulator of this host boot."""
        self._slot.release()

    def boot_cold_instead(self, reason: str, server_port: int, stop: threading.Event) -> bool:
        """If it booted from a snapshot and was not ready since, drop that and boot cold; return whether."""
        if self._boot != "snapshot":
            return False
        self._snapshot.drop(reason)
        self._start(server_port, stop)
        return True

    def ready(self, stop: threading.Event, *, changed: bool) -> None:
        """Save the device as a snapshot if it has just booted and is not what a snapshot holds."""
        boot, self._boot = self._boot, None
        if boot is None or self._ports is None:
            return
        seconds = round(time.monotonic() - self._started_s, 1)
        log.info("emulator ready", avd=self.name, boot=boot, seconds=seconds)
        if boot == "cold" or changed:
            self._snapshot.save(self._ports.console, self._folder, stop)
        else:
            self._snapshot.helped()

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
        """Return: restart, from the snapshot if there is one; restart with wiped data."""

        def wipe() -> None:
            self._snapshot.forget()
            self._start(server_port(), stop, "-wipe-data")

        return (
            RecoveryStep(name="restart the emulator", run=lambda: self._start(server_port(), stop)),
            RecoveryStep(name="wipe its data", run=wipe),
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
        self._slot.release()
        if self._ports is not None:
            self._ports.release()
            self._ports = None

    @property
    def _options(self) -> tuple[str, ...]:
        """Options that determine the virtual hardware."""
        settings = self._settings
        return (
            *("-gpu", settings.gpu),
            *("-memory", str(settings.memory_mb)),
            *("-cores", str(settings.cores)),
            *(() if settings.acceleration else ("-accel", "off")),
        )

    def _command_line(self, ports: PortPair, *boot: str) -> list[str]:
        return [
            str(avd.emulator_program(self._sdk)),
            *("-avd", self.name),
            *("-port", str(ports.console)),
            *("-no-window", "-no-audio", "-no-boot-anim"),
            *boot,
            *self._options,
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
