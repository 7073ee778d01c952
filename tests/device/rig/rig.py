"""API of the rig for tests: an SDK whose emulators are virtual devices, phones, and their faults."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from app_host import HOST_APP
from device.rig.backends import Mode, set_modes
from device.rig.emulator import LOCKS, NO_KVM, VERSION
from device.rig.faults import Fault, FaultBox, Until
from device.rig.fetch import CHECKOUT, fetched
from device.rig.guest_state import read_state, write_state
from device.rig.isolation import isolated
from device.rig.runtimes_process import shared
from device.rig.wires import listen
from waiting import HANG_S

IMAGE = Path("system-images/android-30/google_apis/x86_64")
#: Faults that a restart heals by default.
_HEALED_BY_RESTART = frozenset({Fault.STAYS_NOT_RESPONDING})


class RigDevice:
    """One device, whether it runs or not: its faults, its state, its backends."""

    def __init__(self, name: str, faults: Path) -> None:
        self.name = name
        self._box = FaultBox(faults)

    def fault(
        self,
        fault: Fault,
        *,
        times: int | None = None,
        until: Until | None = None,
        every: int = 1,
        **parameters: Any,
    ) -> None:
        """Switch a fault on; see `Fault` for its parameters.

        Args:
            times: occurrences before it heals; None: it does not heal by itself.
            until: what also heals it; default: a restart for a dialog that stays, else only `heal`.
            every: it occurs at every n-th occasion.
        """
        if until is None:
            until = Until.RESTART if fault in _HEALED_BY_RESTART else Until.CLEARED
        self._box.set(fault, times=times, until=until, every=every, **parameters)

    def heal(self, fault: Fault | None = None) -> None:
        """Switch off one fault, or all."""
        self._box.clear(fault)

    def faulty(self, fault: Fault) -> bool:
        """Whether the fault is still on."""
        return self._box.on(fault)

    def backends(self, **chosen: Mode) -> None:
        """Set what backends do: `backends(gpu=Mode.WORKS)`."""
        set_modes(self._box.folder, **chosen)

    def state(self, **values: Any) -> None:
        """Set battery and heat; see `State`."""
        write_state(self._box.folder, replace(read_state(self._box.folder), **values))


class Sdk:
    """An Android SDK folder with the rig's `emulator` and a system image."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._faults = path / "rig"

    def avd(self, name: str) -> RigDevice:
        """Return the device that an AVD of this name is, also before the AVD is made."""
        return RigDevice(name, self._faults / name)

    def acceleration(self, usable: bool) -> None:
        """Set whether the emulator finds KVM; it does at first."""
        if usable:
            (self._faults / NO_KVM).unlink(missing_ok=True)
        else:
            (self._faults / NO_KVM).touch()

    def make_avd(self, home: Path, name: str) -> Path:
        """Make an AVD as `avdmanager` would, where the code under test does not; returns its folder."""
        folder = home / f"{name}.avd"
        folder.mkdir(parents=True)
        (home / f"{name}.ini").write_text(
            f"avd.ini.encoding=UTF-8\npath={folder}\npath.rel=avd/{name}.avd\ntarget=android-30\n"
        )
        (folder / "config.ini").write_text(
            f"AvdId={name}\nabi.type=x86_64\nhw.cpu.arch=x86_64\nhw.ramSize=2048\n"
            f"disk.dataPartition.size=6G\nimage.sysdir.1={IMAGE}/\ntag.id=google_apis\n"
        )
        return folder


class RigPhone(RigDevice):
    """A running phone on a TCP port."""

    def __init__(self, name: str, home: Path, port: int, boot_s: float, runtimes: Path) -> None:
        super().__init__(name, home / "faults")
        self.port = port
        #: Its /data, as long as it is not wiped.
        self.data = home / "data"
        self._control = home / "control"
        command = [sys.executable, "-P", "-m", "device.rig.phone", str(self._control), str(port), name]
        self.process = subprocess.Popen(
            [*command, str(home), str(home / "faults"), str(boot_s), str(runtimes)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT / "tests")},
            process_group=0,
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"phone {name} did not start; see its stderr")

    @property
    def address(self) -> str:
        """As `adb connect` takes it."""
        return f"127.0.0.1:{self.port}"

    def unplug(self) -> None:
        """Cut it off, as by pulling the cable; it stays on."""
        self._send("unplug")

    def plug(self) -> None:
        """Connect it again."""
        self._send("plug")

    def stop(self) -> None:
        """Switch it off."""
        if self.process.poll() is None:
            self._send("stop")
        self.process.wait(HANG_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _send(self, word: str) -> None:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(HANG_S)
            control.connect(str(self._control))
            control.sendall(f"{word}\n".encode())
            if control.recv(16) != b"OK\n":
                raise RuntimeError(f"phone {self.name} rejected {word}")


class Rig:
    """Makes virtual devices below a folder of the test."""

    def __init__(self, folder: Path) -> None:
        if not fetched():
            raise RuntimeError("adbd is not there: run `make rig` first")
        if not HOST_APP.is_built:
            raise RuntimeError("the app for this host is not there: run `make host-app` first")
        if not isolated():
            raise RuntimeError(
                "the rig must be isolated: PYTHONPATH=tests .venv/bin/python -m device.rig.isolation COMMAND"
            )
        self._folder = folder
        self._phones: list[RigPhone] = []

    def make_sdk(self, path: Path | None = None) -> Sdk:
        """Make an SDK folder; its emulators are rig devices."""
        path = path or self._folder / "sdk"
        for folder in ("emulator", "rig", IMAGE):
            (path / folder).mkdir(parents=True)
        program = path / "emulator" / "emulator"
        program.write_text(
            f"#!{sys.executable} -P\n"
            "import sys\nfrom pathlib import Path\n"
            f"sys.path.insert(0, {str(CHECKOUT / 'tests')!r})\n"
            "from device.rig.emulator import main\n"
            f"main(Path({str(path)!r}), Path({str(path / 'rig')!r}), Path({str(shared().folder)!r}))\n"
        )
        program.chmod(0o755)
        revision = f"Pkg.Revision={VERSION.removesuffix('.0')}\n"
        (path / "emulator" / "source.properties").write_text(f"{revision}Pkg.Path=emulator\n")
        for name in ("system.img", "vendor.img", "ramdisk.img", "kernel-ranchu-64", "userdata.img"):
            (path / IMAGE / name).write_bytes(b"a placeholder of the rig\n")
        (path / IMAGE / "source.properties").write_text(
            "AndroidVersion.ApiLevel=30\nSystemImage.Abi=x86_64\nSystemImage.TagId=google_apis\nPkg.Revision=10\n"
        )
        (path / IMAGE / "build.prop").write_text("ro.build.version.sdk=30\nro.product.cpu.abi=x86_64\n")
        return Sdk(path)

    def phone(self, name: str = "phone", *, port: int = 5555, boot_s: float = 0.3) -> RigPhone:
        """Switch on a phone; its folder lasts as long as the rig's."""
        home = self._folder / name
        home.mkdir(exist_ok=True)
        (home / "control").unlink(missing_ok=True)
        phone = RigPhone(name, home, port, boot_s, shared().folder)
        self._phones.append(phone)
        return phone

    def close(self) -> None:
        """Switch off every phone."""
        for phone in self._phones:
            phone.stop()


def kill(pid: int) -> None:
    """End a process at once: an emulator or an adb server that crashes."""
    os.kill(pid, signal.SIGKILL)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process for a while; an emulator does not answer then, and its connections stay open."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Occupy a port of the loopback for a while."""
    with listen(port):
        yield


def leave_stale_locks(avd: Path) -> None:
    """Leave the lock files of an emulator that is gone."""
    gone = subprocess.Popen(["true"])
    gone.wait(HANG_S)
    for name in LOCKS:
        (avd / name).write_text(f"{gone.pid}\n")
