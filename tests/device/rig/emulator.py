"""The rig's `emulator` program: finds and locks its AVD, runs and ends like the real one.

Its messages are those of the emulator's sources (external/qemu in AOSP).
"""

import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from device.rig.command_line import Exit, Options, parse
from device.rig.console import Console
from device.rig.guest import Hardware
from device.rig.machine import LineServer, Machine
from device.rig.properties import emulator_properties
from device.rig.snapshots import Snapshots
from device.rig.wires import listen

VERSION: Final = "35.1.4.0"
BUILD: Final = "11672324"
#: File in the folder of faults: the machine has no KVM.
NO_KVM: Final = "no-kvm"
KVM_STATUS: Final = "KVM (version 12) is installed and usable."
NO_KVM_STATUS: Final = "/dev/kvm is not found: VT disabled in BIOS or KVM kernel module not loaded"
#: Folder of the data in an AVD.
DATA: Final = "userdata-rig"
LOCKS: Final = ("hardware-qemu.ini.lock", "multiinstance.lock")
#: Wait for a lock that another emulator holds, seconds; as the real one does.
LOCK_WAIT_S: Final = 2.0


def main(sdk: Path, faults: Path, runtimes: Path) -> None:
    """Run the program.

    Args:
        sdk: folder of the SDK.
        faults: where the rig keeps the faults of its AVDs, by name.
        runtimes: as in `Hardware`.
    """
    try:
        arguments = sys.argv[1:]
        if not _answered(arguments, faults):
            _Emulator(sdk, faults, runtimes, parse(arguments)).run()
    except Exit as problem:
        sys.stdout.flush()
        sys.stderr.write(f"{problem}\n")
        sys.exit(1)


def _answered(arguments: Sequence[str], faults: Path) -> bool:
    """Answer a query such as -version; False: the arguments are not a query."""
    first = arguments[0] if arguments else ""
    if first == "-version":
        print(f"INFO    | Android emulator version {VERSION} (build_id {BUILD}) (CL:N/A)")
    elif first == "-accel-check":
        code, status = (8, NO_KVM_STATUS) if (faults / NO_KVM).exists() else (0, KVM_STATUS)
        print(f"accel:\n{code}\n{status}\naccel")
        sys.exit(code)
    elif first == "-list-avds":
        for file in sorted(_avd_home().glob("*.ini")):
            print(file.stem)
    else:
        return False
    return True


def _avd_home() -> Path:
    if home := os.environ.get("ANDROID_AVD_HOME"):
        return Path(home)
    return Path(os.environ.get("ANDROID_SDK_HOME") or os.environ.get("HOME", "/")) / ".android" / "avd"


def read_ini(file: Path) -> dict[str, str]:
    """Return the entries of an AVD's file."""
    lines = (line.partition("=") for line in file.read_text().splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in lines}


class _Emulator:
    def __init__(self, sdk: Path, faults: Path, runtimes: Path, options: Options) -> None:
        self._options = options
        self._name = options.values.get("avd", "")
        self._sdk = sdk
        self._avd, self._config = self._find_avd()
        self._faults = faults / self._name
        self._runtimes = runtimes
        self._port = options.console_port
        if options.acceleration != "off" and (faults / NO_KVM).exists():
            raise Exit(
                "ERROR   | x86_64 emulation currently requires hardware acceleration!\n"
                f"CPU acceleration status: {NO_KVM_STATUS}\n"
                "More info on configuring VM acceleration on Linux:\n"
                "https://developer.android.com/studio/run/emulator-acceleration#vm-linux"
            )

    def run(self) -> None:
        """Start, serve, and shut down gracefully."""
        print(f"INFO    | Android emulator version {VERSION} (build_id {BUILD}) (CL:N/A)", flush=True)
        locks = _Locks(self._avd)
        locks.take()
        try:
            listener, machine = self._open_ports()
            home = Path(os.environ.get("HOME", "/"))
            snapshots = self._snapshots()
            console = Console(self._name, home, kill=machine.stop, snapshots=snapshots)
            LineServer(listener, machine.selector, greeting=console.greeting, answer=console.answer)
            print(
                f"INFO    | emulator: console listening on port {self._port}, ADB on port {self._port + 1}\n"
                "INFO    | boot completed is awaited by adb",
                flush=True,
            )
            is_loaded = self._load(snapshots)
            machine.run(wipe="wipe-data" in self._options.flags, resumed=is_loaded)
            print(f"INFO    | Wait for emulator (pid {os.getpid()}) to shutdown gracefully", flush=True)
        finally:
            locks.release()

    def _snapshots(self) -> Snapshots:
        values = self._options.values
        hardware = [
            (self._sdk / "emulator" / "source.properties").read_text(),
            *(f"{name}={values.get(name)}" for name in ("memory", "cores", "gpu")),
        ]
        return Snapshots(self._avd, self._avd / DATA / "data", hardware)

    def _load(self, snapshots: Snapshots) -> bool:
        """Load the snapshot that the command line names; without one, or if that fails, the boot is cold."""
        name, flags = self._options.values.get("snapshot", "default_boot"), self._options.flags
        if flags & {"no-snapshot", "no-snapshot-load", "wipe-data"}:
            return False
        print(f"INFO    | Loading snapshot '{name}'...", flush=True)
        if snapshots.load(name):
            print(f"INFO    | Successfully loaded snapshot '{name}'", flush=True)
            return True
        print(f"WARNING | Failed to load snapshot '{name}'", flush=True)
        if "force-snapshot-load" in flags:
            snapshots.delete(name)
            raise Exit(f"FATAL   | Snapshot '{name}' cannot be loaded, and -force-snapshot-load was given")
        print("WARNING | Cold boot: snapshot failed to load", flush=True)
        return False

    def _find_avd(self) -> tuple[Path, Mapping[str, str]]:
        if not self._name:
            raise Exit("No AVD specified. Use '@foo' or '-avd foo' to launch a virtual device named 'foo'")
        file = _avd_home() / f"{self._name}.ini"
        if not file.exists():
            raise Exit(
                f"PANIC: Unknown AVD name [{self._name}], use -list-avds to see valid list.\n"
                f"HOME is defined but there is no file {self._name}.ini in $HOME/.android/avd\n"
                "(Note: Directories are searched in the order $ANDROID_AVD_HOME, "
                "$ANDROID_SDK_HOME/avd, and $HOME/.android/avd)"
            )
        avd = Path(read_ini(file).get("path", _avd_home() / f"{self._name}.avd"))
        if not (avd / "config.ini").exists():
            raise Exit(f"PANIC: Cannot find AVD config file in {avd}")
        config = read_ini(avd / "config.ini")
        root = os.environ.get("ANDROID_SDK_ROOT") or os.environ.get("ANDROID_HOME")
        if root is None:
            root = str(self._sdk)
        if not Path(root).is_dir():
            raise Exit("PANIC: Cannot find AVD system path. Please define ANDROID_SDK_ROOT")
        image = Path(root) / config.get("image.sysdir.1", "")
        if "image.sysdir.1" not in config or not (image / "system.img").exists():
            raise Exit(f"PANIC: Broken AVD system path. Check your ANDROID_SDK_ROOT value [{root}]!")
        return avd, config

    def _open_ports(self) -> tuple[socket.socket, Machine]:
        console = None
        try:
            console = listen(self._port)
            return console, Machine(self._hardware(), adb_port=self._port + 1)
        except OSError as error:
            if console is not None:
                console.close()
            raise Exit(
                "ERROR   | It seems too many emulator instances are running on this machine. Aborting."
            ) from error

    def _hardware(self) -> Hardware:
        values, config = self._options.values, self._config
        return Hardware(
            name=self._name,
            home=self._avd / DATA,
            faults=self._faults,
            runtimes=self._runtimes,
            properties=emulator_properties(self._name),
            boot_s=float(os.environ.get("RIG_BOOT_S", "0.3")),
            memory_mb=_number(values.get("memory", config.get("hw.ramSize", "2048")), default_unit="M")
            // 2**20,
            data_kb=_number(config.get("disk.dataPartition.size", "6G"), default_unit="") // 1024,
            sensors=False,
        )


class _Locks:
    """The lock files of an AVD; one of a dead emulator is in the way until it is removed."""

    def __init__(self, avd: Path) -> None:
        self._files = [avd / name for name in LOCKS]
        self._taken: list[Path] = []

    def take(self) -> None:
        deadline_s = time.monotonic() + LOCK_WAIT_S
        for file in self._files:
            while not self._took(file):
                if time.monotonic() > deadline_s:
                    self.release()
                    raise Exit(
                        "ERROR   | Running multiple emulators with the same AVD is an experimental feature.\n"
                        "Please use -read-only flag to enable this feature."
                    )
                time.sleep(0.05)

    def release(self) -> None:
        for file in self._taken:
            file.unlink(missing_ok=True)
        self._taken.clear()

    def _took(self, file: Path) -> bool:
        with suppress(FileExistsError):
            with file.open("x") as lock:
                lock.write(f"{os.getpid()}\n")
            self._taken.append(file)
            return True
        return False


def _number(text: str, *, default_unit: str) -> int:
    """Return bytes of a size such as 6G, 2048M or 2048."""
    units = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
    unit = text[-1:].upper() if text[-1:].isalpha() else default_unit
    return int(text.rstrip("kKmMgGbB")) * units.get(unit, 1)
