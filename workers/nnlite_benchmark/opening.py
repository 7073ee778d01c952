"""Which device `--device` names, and the lock that makes it this worker's alone."""

import fcntl
import os
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nnlite.quiet import choose_cores
from nnlite.results.report import QuietMode
from nnlite.settings import Settings, SettingsError
from nnlite.vocabulary import DeviceKind, Stage
from nnlite_benchmark.device import Device

_ADDRESS: Final = re.compile(r"(?P<host>[^:/\s]+):(?P<port>\d{1,5})")

OnStage = Callable[[Stage], None]


def device_name(argument: str) -> tuple[str, DeviceKind]:
    """Return the name under which the device of `--device` is known, and its kind.

    Raises:
        SettingsError: it names no device.
    """
    scheme, _, rest = argument.partition(":")
    if argument == "host":
        return f"host-{socket.gethostname()}", DeviceKind.HOST
    if scheme == "avd" and rest:
        return f"{argument}@{socket.gethostname()}", DeviceKind.EMULATOR
    if (scheme == "usb" and rest) or (scheme == "tcp" and _ADDRESS.fullmatch(rest)):
        return argument, DeviceKind.PHONE
    raise SettingsError(f"--device {argument}: use avd:NAME, usb:SERIAL, tcp:HOST:PORT or host")


def open_device(
    argument: str, pool: str, settings: Settings, *, stop: threading.Event, on_stage: OnStage
) -> Device:
    """Return the device that `--device` names; nothing is started yet.

    Raises:
        SettingsError: there is no such device, something that it needs is missing, or another worker of
            this host owns it.
    """
    name, kind = device_name(argument)
    if kind is DeviceKind.HOST:
        from nnlite_benchmark.host.device import HostDevice

        return HostDevice(settings, pool=pool, on_stage=lambda stage, _pid: on_stage(stage))
    from nnlite_benchmark.android.attachment import Attachment, Phone
    from nnlite_benchmark.android.device import AndroidDevice
    from nnlite_benchmark.android.emulator import Emulator

    folder = _own_folder(settings.home, name)
    scheme, _, rest = argument.partition(":")
    attachment: Attachment
    if scheme == "avd":
        cores = choose_cores(settings.measurement.cores)
        apart = cores.mode is QuietMode.CORES_APART
        attachment = Emulator(
            rest, settings.emulator, settings.home, folder, cores.measuring if apart else ()
        )
    else:
        attachment = Phone(rest, usb=scheme == "usb")
    return AndroidDevice(
        settings, name=name, pool=pool, attachment=attachment, folder=folder, stop=stop, on_stage=on_stage
    )


def _own_folder(home: Path, name: str) -> Path:
    """Make the folder of a device below the home and take its lock for as long as this process lives.

    Raises:
        SettingsError: another worker owns the device.
    """
    folder = home / "devices" / re.sub(r"[^A-Za-z0-9._@-]", "_", name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Never closed: the lock lives as long as this process, and a re-exec closes it.
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(lock, 100, 0).decode("ascii", "replace").strip()
        raise SettingsError(f"{name} is owned by another worker of this host (PID {owner})") from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return folder
