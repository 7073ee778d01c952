"""Creates the device that `--device` names, and locks it for this worker."""

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

from nnlite.campaigns.device_argument import DeviceArgument
from nnlite.host.cores import cores_of
from nnlite.host.locks import FileLock
from nnlite.settings import Settings, SettingsError
from nnlite.vocabulary import QuietMode, Stage
from nnlite_benchmark.device import Device

OnStage = Callable[[Stage], None]


def open_device(
    argument: DeviceArgument, settings: Settings, *, stop: threading.Event, on_stage: OnStage
) -> Device:
    """Return the device that `argument` names; nothing is started yet.

    Raises:
        SettingsError: a program or file is missing, or another worker of this host owns the device.
    """
    if argument.on_host:
        from nnlite_benchmark.host.device import HostDevice

        return HostDevice(settings, pool=argument.pool, on_stage=lambda stage, _pid: on_stage(stage))
    from nnlite_benchmark.android.adb.transport import Phone
    from nnlite_benchmark.android.device import AndroidDevice
    from nnlite_benchmark.android.emulator.emulator import Emulator

    folder = _own_folder(settings.home, argument.device_name)
    transport: Emulator | Phone
    if argument.scheme == "avd":
        cores = cores_of(settings)
        pinned = cores.measuring if cores.mode is QuietMode.PINNED_CORES else ()
        # Containers of one machine have homes of their own, and one folder for noise isolation.
        transport = Emulator(
            argument.target, settings.emulator, settings.home, folder, pinned, turns=settings.quiet
        )
    else:
        transport = Phone(argument.target, usb=argument.scheme == "usb")
    return AndroidDevice(
        settings,
        name=argument.device_name,
        pool=argument.pool,
        transport=transport,
        folder=folder,
        stop=stop,
        on_stage=on_stage,
    )


def _own_folder(home: Path, name: str) -> Path:
    """Create a device's folder in NNLITE_HOME and lock it for the lifetime of this process.

    Raises:
        SettingsError: another worker owns the device.
    """
    folder = home / "devices" / re.sub(r"[^A-Za-z0-9._@-]", "_", name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")  # never closed: held until this process ends
    if not lock.try_exclusive():
        owner = lock.read()
        lock.close()
        raise SettingsError(f"{name} is owned by another worker of this host (PID {owner})")
    lock.write(str(os.getpid()))
    return folder
