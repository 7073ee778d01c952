"""One emulator of this worker: its AVD, its ports, its process, from start to end.

Headless, on a port pair of its own, with an AVD folder that no other worker
uses. It is ended by PID with its whole process group.
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
from nnlite.host.locks import LockTimeout
from nnlite.settings import SettingsError
from nnlite.settings.groups import EmulatorSettings
from nnlite.vocabulary import DeviceKind, Fault
from nnlite_benchmark.android.adb.client import Wire
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.android.adb.transport import emulator_failure
from nnlite_benchmark.android.emulator import avd
from nnlite_benchmark.android.emulator.owned_process import OwnedProcess
from nnlite_benchmark.android.emulator.ports import PortPair, stagger
from nnlite_benchmark.device import RecoveryStep

log = structlog.get_logger()

_CHECK_TIMEOUT_S: Final = 30.0
#: Of the 20 s in which a worker must have stopped, seconds.
_LAST_STOP_TIMEOUT_S: Final = 8.0


class Emulator:
    """An emulator that runs one AVD; an `DeviceTransport`."""

    kind = DeviceKind.EMULATOR
    cores_matter = True
    usb_serial = None
    absent = "its log lies in the device's folder: emulator.log"

    def __init__(
        self, name: str, settings: EmulatorSettings, home: Path, folder: Path, cores: Collection[int] = ()
    ) -> None:
        """Find or make the AVD; nothing is started yet.

        Args:
            name: of the AVD.
            settings: what to make and how to start it.
            home: of nnlite; has port locks and, unless the settings say otherwise, the AVDs.
            folder: of this device; becomes the emulator's HOME.
            cores: the logical processors that it may use; empty: all.

        Raises:
            SettingsError: no SDK, no image, or no hardware acceleration.
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
        self._avd = avd.find_or_make(name, self._avd_home, settings)
        self._process = OwnedProcess("emulator", folder)
        self._process.end_leftover()
        self._ports: PortPair | None = None

    @property
    def serial(self) -> str:
        """As adb calls an emulator: by its console port."""
        return f"emulator-{self._ports.console}" if self._ports else f"emulator of {self.name}"

    @property
    def pid(self) -> int | None:
        """Of its process, while it runs."""
        return self._process.pid

    def start(self, server_port: int, stop: threading.Event) -> None:
        """Start it in its turn unless it runs; raises `emulator_failed`, Stopped."""
        if not self._process.alive:
            quick = self._settings.snapshot_boot
            self._start(server_port, stop, "-no-snapshot-save" if quick else "-no-snapshot")

    def _start(self, server_port: int, stop: threading.Event, *boot: str) -> None:
        self._end(self._settings.stop_timeout_s)
        if removed := avd.remove_stale_locks(self._avd):
            log.info("stale locks of the AVD are removed", avd=self.name, locks=removed)
        try:
            wait_s = stagger(self._home / "ports" / "last-start", self._settings.start_stagger_s)
            if stop.wait(wait_s):
                raise Stopped("stopped before the emulator's turn to start")
            self._ports = PortPair.take(self._home / "ports", self._settings.first_port)
            self._process.start(self._command_line(self._ports, *boot), self._environment(server_port))
        except (OSError, LockTimeout) as error:
            raise emulator_failure(
                Fault.EMULATOR_FAILED, f"the emulator of {self.name} cannot be started: {error}", ""
            ) from error
        self._keep_to_cores()
        log.info("emulator started", avd=self.name, port=self._ports.console, pid=self.pid, boot=boot)

    def announce(self, wire: Wire) -> None:
        """Tell the adb server, which does not scan, where the emulator's adbd listens."""
        if self._ports is not None:
            wire.announce_emulator(self._ports.adb)

    def check(self) -> None:
        """Raise `emulator_gone` if its process has ended."""
        if not self._process.alive:
            raise emulator_failure(
                Fault.EMULATOR_GONE,
                f"the emulator of {self.name} {self._process.how_it_ended}",
                self._process.log_tail() if (self._process.exit_status or 0) >= 0 else "",
            )

    def restarts(
        self, shell: Shell, server_port: Callable[[], int], stop: threading.Event
    ) -> Sequence[RecoveryStep]:
        """Restart it cold, whatever the settings say of snapshots; wipe its data."""

        def restart(*boot: str) -> None:
            self._start(server_port(), stop, "-no-snapshot", *boot)

        return (
            RecoveryStep(name="restart the emulator", climb=restart),
            RecoveryStep(name="wipe its data", climb=lambda: restart("-wipe-data")),
        )

    def stop(self) -> None:
        """End it for good, soon enough for a worker that is to stop."""
        self._end(min(self._settings.stop_timeout_s, _LAST_STOP_TIMEOUT_S))

    def _end(self, timeout_s: float) -> None:
        """End it and give its ports back; raises `emulator_failed` if nothing ends it."""
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
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NNLITE_")}
        return kept | {
            "HOME": str(self._folder),
            "ANDROID_HOME": str(self._sdk),
            "ANDROID_SDK_ROOT": str(self._sdk),
            "ANDROID_AVD_HOME": str(self._avd_home),
            "ANDROID_ADB_SERVER_PORT": str(server_port),
        }

    def _keep_to_cores(self) -> None:
        if self._cores and (pid := self._process.pid) is not None and hasattr(os, "sched_setaffinity"):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(pid, self._cores)


def _check_acceleration(sdk: Path) -> None:
    """Ask the emulator whether it can use the processor's virtualization.

    Raises:
        SettingsError: it cannot, in its own words.
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
        said = " ".join(f"{checked.stdout} {checked.stderr}".split())[:500]
        raise SettingsError(
            f"no hardware acceleration for the emulator (KVM): {said}; "
            "NNLITE_EMULATOR__ACCELERATION=false starts without it, very slowly"
        )
