"""Faults of a virtual device, and the folder by which tests inject them.

One small file for each fault, written by the test process and read by the
device: its presence is the fault, its content the remaining occurrences.
Scripts of the device read it too, so nothing but the standard library and the
rig is imported here.
"""

import fcntl
import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TextIO

from device.rig.files import replace_text

_RUNNING: Final = ".running"
_BOOTS: Final = ".boots"


class Fault(StrEnum):
    """What a rig device can do wrong; parameters of `FaultBox.set` in brackets."""

    # boot
    NEVER_BOOTS = "never_boots"  # sys.boot_completed stays empty
    BOOTS_SLOWLY = "boots_slowly"  # [seconds=5], or less where the test heals it
    BOOT_ANIMATION_STUCK = "boot_animation_stuck"  # booted, but init.svc.bootanim stays running
    NOT_RESPONDING = "not_responding"  # a System UI dialog has the focus until its button is pressed
    STAYS_NOT_RESPONDING = "stays_not_responding"  # the same dialog; no key closes it
    LOCKED = "locked"  # not unlocked since the boot: the data of apps is encrypted
    # wires; an occurrence of the first two is a connection that met it and was given up by the host
    OFFLINE = "offline"  # accepts the connection, sends nothing
    UNAUTHORIZED = "unauthorized"  # always asks for a key
    DIES_MID_PUSH = "dies_mid_push"  # adbd is killed after data of a push; `every` counts packets of data
    DIES_MID_RUN = "dies_mid_run"  # adbd is killed when the app's timed runs begin
    SHELL_HANGS = "shell_hangs"  # shell commands start and never end [command="": those that contain it]
    # app; also [runs="any"|"benchmark"|"canary", backend="": all]
    # [stage="run", or "end": after its report; signal="SIGSEGV", library="libnnlite.so"; runtime=False: its
    # JVM too]
    APP_CRASHES = "app_crashes"
    DELEGATE_CRASHES = "delegate_crashes"  # SIGSEGV within libtensorflowlite_gpu_jni.so
    APP_HANGS = "app_hangs"  # [stage="run"]
    RESULT_TRUNCATED = "result_truncated"  # the report's line is cut in half
    RESULT_GARBAGE = "result_garbage"  # a line of JSON that is no report
    WRONG_OUTPUT = "wrong_output"  # computes something else
    ACTIVITY_BLOCKED = "activity_blocked"  # the window comes up only when the shell starts the activity
    NOT_IN_FRONT = "not_in_front"  # another window takes the focus during the timed runs
    # installation
    INSTALL_FAILS = "install_fails"  # [reason="INSTALL_FAILED_...", message=""]
    USER_RESTRICTED = "user_restricted"  # a phone on which "Install via USB" is off
    # the rest
    STORAGE_FULL = "storage_full"  # nothing can be written below /data/local/tmp; df says 0
    CLOCK_JUMPS = "clock_jumps"  # [seconds=-5 years]


class Until(StrEnum):
    """Event that heals a fault, in addition to its `times`.

    A fault that is set while the device is off lasts through the next boot.
    """

    CLEARED = "cleared"  # only the test
    RESTART = "restart"  # the next boot
    COLD_BOOT = "cold_boot"  # the next boot that loads no snapshot
    WIPE = "wipe"  # the next boot with wiped data


@dataclass(frozen=True, kw_only=True)
class Command:
    """A fault as set by a test."""

    #: Occurrences before it heals; None: it does not heal by itself.
    times: int | None = None
    until: Until = Until.CLEARED
    #: It occurs at every n-th occasion.
    every: int = 1
    #: Occasions so far.
    occasions: int = 0
    #: The first boot that shows it.
    boot: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)


class FaultBox:
    """The folder of a device's faults."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def set(
        self,
        fault: Fault,
        *,
        times: int | None = None,
        until: Until = Until.CLEARED,
        every: int = 1,
        **parameters: Any,
    ) -> None:
        """Switch a fault on, now or at its next occasion."""
        boot = self._boots() + (0 if self._running() else 1)
        self._write(fault, Command(times=times, until=until, every=every, boot=boot, parameters=parameters))

    def clear(self, fault: Fault | None = None) -> None:
        """Switch off one fault, or all."""
        for each in [fault] if fault else list(Fault):
            self._file(each).unlink(missing_ok=True)

    def command(self, fault: Fault) -> Command | None:
        """Return the fault as set; None: it is off. Does not count as an occasion."""
        try:
            fields = json.loads(self._file(fault).read_text())
        except FileNotFoundError:
            return None
        return Command(**{**fields, "until": Until(fields["until"])})

    def on(self, fault: Fault) -> bool:
        """Whether the fault is on."""
        return self._file(fault).exists()

    def occurs(self, fault: Fault, **occasion: str) -> Mapping[str, Any] | None:
        """Count an occasion; return the fault's parameters if it occurs now, else None.

        A parameter of the fault with the name of an entry of `occasion` restricts it to that value.
        """
        if not self.on(fault):
            return None
        with self._locked():
            command = self.command(fault)
            if command is None or not _fits(command.parameters, occasion):
                return None
            occasions = command.occasions + 1
            occurs = occasions % command.every == 0
            times = command.times
            if occurs and times is not None:
                times -= 1
            if times == 0:
                self.clear(fault)
            else:
                self._write(fault, Command(**{**asdict(command), "occasions": occasions, "times": times}))
            return command.parameters if occurs else None

    def hold(self) -> TextIO:
        """Mark the device as running while the returned file is open."""
        file = (self.folder / _RUNNING).open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def boot(self, *, wiped: bool = False, resumed: bool = False) -> None:
        """Count a boot, and switch off every fault that it heals."""
        boot = self._boots() + 1
        replace_text(self.folder / _BOOTS, f"{boot}")
        events = {Until.RESTART}
        if not resumed:
            events.add(Until.COLD_BOOT)
        if wiped:
            events.add(Until.WIPE)
        for fault in Fault:
            command = self.command(fault)
            if command is not None and command.until in events and boot > command.boot:
                self.clear(fault)

    def _boots(self) -> int:
        file = self.folder / _BOOTS
        return int(file.read_text()) if file.exists() else 0

    def _running(self) -> bool:
        with (self.folder / _RUNNING).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _file(self, fault: Fault) -> Path:
        return self.folder / fault.value

    def _write(self, fault: Fault, command: Command) -> None:
        replace_text(self._file(fault), json.dumps(asdict(command)))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _fits(parameters: Mapping[str, Any], occasion: Mapping[str, str]) -> bool:
    for name, value in occasion.items():
        wanted = parameters.get(name)
        if wanted not in {None, "", "any", value}:
            return False
    return True


def end_by(number: signal.Signals) -> None:
    """End this process by a signal."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pause()
