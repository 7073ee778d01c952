"""The Android side of a virtual device: namespaces that share only code with the machine.

It has its own users (the shell's account only), processes, network, mounts and
boot; its first process starts adbd and the zygote, simulates the boot, and ends
everything in it by ending itself. `Guest` is the handle that the machine
outside holds.
"""

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from device.rig import properties, zygote
from device.rig.faults import Fault, FaultBox
from device.rig.fetch import CHECKOUT
from device.rig.filesystem import build_root, fill, is_filled, unfill
from device.rig.namespaces import Space, die_with_parent, enter_root, loopback_up, map_ids, unshare

#: The account and group `shell` of Android.
SHELL_ID = 2000
ADBD_PORT = 5555
#: Where scripts of the device reach its first process.
INIT_SOCKET = "/dev/socket/init"
#: Between two checks of the faults, seconds.
TICK_S = 0.05
#: A guest that the machine stops has ended within this time, seconds.
STOP_TIMEOUT_S = 5.0
#: From the death of adbd to its next start, seconds.
ADBD_PAUSE_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Properties of a device, and the folders of its data."""

    #: Name of the device; part of its host name and serial number.
    name: str
    #: Folder of this device: `data/` lasts until it is wiped, `root/` is where its root is mounted.
    home: Path
    #: Folder of its faults.
    faults: Path
    #: Folder in which the JVMs that run its app listen; see `device.rig.runtimes`.
    runtimes: Path
    #: Device properties in addition to those that all devices have.
    properties: dict[str, str]
    #: Without faults, seconds from the start to sys.boot_completed.
    boot_s: float
    memory_mb: int
    data_kb: int
    #: Whether it has cpufreq and thermal zones, as phones do.
    sensors: bool


class Guest:
    """A running system, seen from the machine."""

    def __init__(self, hardware: Hardware) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        #: Messages of the guest: b"reboot", b"connected" with a descriptor, b"refused".
        self.messages = ours
        self.pid = os.fork()
        if self.pid == 0:
            _become_guest(hardware, theirs)
        theirs.close()
        ours.setblocking(False)

    def send(self, message: bytes) -> None:
        """Send a message: b"connect" (to its adbd), b"kill_adbd"."""
        with suppress(BrokenPipeError):
            self.messages.send(message)

    def receive(self) -> tuple[bytes, list[int]]:
        """Return the next message and its descriptors; b"" when the guest ended."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self.messages, 64, 1)
        except ConnectionResetError:
            return b"", []
        return message, descriptors

    def stop(self) -> None:
        """End everything in it and wait until it is gone."""
        self.messages.close()
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline_s:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                return
            time.sleep(0.005)


def _become_guest(hardware: Hardware, control: socket.socket) -> None:
    """In the forked child: enter new namespaces and fork the first process in them; never returns."""
    try:
        _reset_signals()
        _close_descriptors({0, 1, 2, control.fileno()})
        uid, gid = os.geteuid(), os.getegid()
        unshare(Space.USER | Space.MOUNT | Space.PID | Space.NETWORK | Space.IPC | Space.UTS | Space.TIME)
        die_with_parent()
        map_ids(SHELL_ID, SHELL_ID, outer_uid=uid, outer_gid=gid)
        uptime_s = int(float(Path("/proc/uptime").read_text().split()[0]))
        Path("/proc/self/timens_offsets").write_text(f"boottime -{uptime_s} 0\n")
        init = os.fork()
        if init == 0:
            die_with_parent()
            Init(hardware, control).run()
        control.close()
        os.waitpid(init, 0)
    except BaseException:  # noqa: BLE001 - a fork never returns into the code of its parent
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def _reset_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)


def _close_descriptors(keep: set[int]) -> None:
    for entry in list(Path("/proc/self/fd").iterdir()):
        if int(entry.name) not in keep:
            with suppress(OSError):
                os.close(int(entry.name))


class Init:
    """The first process: everything in the device ends with it."""

    def __init__(self, hardware: Hardware, control: socket.socket) -> None:
        self._hardware = hardware
        self._control = control
        self._adbd: subprocess.Popen[bytes] | None = None
        self._adbd_due_s = 0.0
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Boot, then serve until the machine goes away; never returns."""
        hardware = self._hardware
        loopback_up()
        socket.sethostname(hardware.name)
        build_root(
            hardware.home,
            faults=hardware.faults,
            runtimes=hardware.runtimes,
            data_kb=hardware.data_kb,
            memory_mb=hardware.memory_mb,
            sensors=hardware.sensors,
            boot_id=str(uuid.uuid4()),
        )
        enter_root(hardware.home / "root")
        self._faults = FaultBox(Path("/rig/faults"))
        self._boot()
        self._serve()

    def _boot(self) -> None:
        properties.reset(self._hardware.properties)
        os.environ.clear()
        os.environ.update(_environment())
        zygote.start(Path("/rig/faults"))
        self._boots = _boot_steps(self._faults, self._hardware.boot_s)

    def _serve(self) -> None:
        wakeup, signalled = socket.socketpair()
        for end in (wakeup, signalled):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(signalled.fileno())
        scripts = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        scripts.bind(INIT_SOCKET)
        self._selector.register(wakeup, selectors.EVENT_READ, lambda: self._reap(wakeup))
        self._selector.register(self._control, selectors.EVENT_READ, self._handle_message)
        self._selector.register(scripts, selectors.EVENT_READ, lambda: self._receive_from_script(scripts))
        while True:
            self._tick()
            for key, _ in self._selector.select(TICK_S):
                key.data()

    def _tick(self) -> None:
        now_s = time.monotonic()
        if self._adbd is None and now_s >= self._adbd_due_s:
            self._adbd = _start_adbd()
        self._boots(now_s)
        if self._faults.on(Fault.STORAGE_FULL) != is_filled():
            (unfill if is_filled() else fill)()

    def _handle_message(self) -> None:
        message = self._control.recv(64)
        if message == b"connect":
            self._connect()
        elif message == b"kill_adbd":
            self._kill_adbd()
        elif not message:
            os._exit(0)

    def _connect(self) -> None:
        connection = socket.socket()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection.connect(("127.0.0.1", ADBD_PORT))
        except OSError:
            self._control.send(b"refused")
        else:
            socket.send_fds(self._control, [b"connected"], [connection.fileno()])
        connection.close()

    def _receive_from_script(self, scripts: socket.socket) -> None:
        message = scripts.recv(64)
        if message == b"kill_adbd":
            self._kill_adbd()
        elif message == b"reboot":
            self._control.send(b"reboot")

    def _kill_adbd(self) -> None:
        if self._adbd is not None:
            self._adbd.kill()

    def _reap(self, wakeup: socket.socket) -> None:
        with suppress(BlockingIOError):
            wakeup.recv(4096)
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._adbd is not None and pid == self._adbd.pid:
                self._adbd.returncode = -1
                self._adbd, self._adbd_due_s = None, time.monotonic() + ADBD_PAUSE_S


def _environment() -> dict[str, str]:
    libraries = ("/rig/adbd/usr/lib/x86_64-linux-gnu/android", "/rig/adbd/usr/lib/x86_64-linux-gnu")
    return {
        "PATH": "/rig/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH": ":".join(libraries),
        "ADBD_PORT": str(ADBD_PORT),
        "ANDROID_DATA": "/data",
        "EXTERNAL_STORAGE": "/sdcard",
        "HOME": "/",
        "TMPDIR": "/data/local/tmp",
        "LC_ALL": "C",
        "RIG_CHECKOUT": str(CHECKOUT),
    }


def _start_adbd() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["/rig/adbd/usr/lib/android-sdk/platform-tools/adbd"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )


def _boot_steps(faults: FaultBox, boot_s: float) -> Callable[[float], None]:
    """Return a function that simulates the boot; to be called repeatedly with the current time."""
    slow = faults.occurs(Fault.BOOTS_SLOWLY)
    until_healed = faults.on(Fault.BOOTS_SLOWLY)
    never = faults.occurs(Fault.NEVER_BOOTS) is not None
    stuck = faults.occurs(Fault.BOOT_ANIMATION_STUCK) is not None
    due_s = time.monotonic() + (float(slow.get("seconds", 5)) if slow is not None else boot_s)
    done = never

    def step(now_s: float) -> None:
        nonlocal done
        healed = until_healed and not faults.on(Fault.BOOTS_SLOWLY)
        if done or (now_s < due_s and not healed):
            return
        done = True
        if not stuck:
            properties.put("init.svc.bootanim", "stopped")
            properties.put("service.bootanim.exit", "1")
        properties.put("dev.bootcomplete", "1")
        properties.put("sys.boot_completed", "1")

    return step
