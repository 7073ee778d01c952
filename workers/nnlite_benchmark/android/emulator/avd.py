"""Android virtual devices (AVDs) on disk: find or create one, see who runs it, remove stale lock files.

An AVD is a folder with a `config.ini`, and an `.ini` file next to it with its
path; both are written here, so that creating one needs no Java. Format:
https://developer.android.com/studio/run/managing-avds and the emulator's
`hardware-properties.ini`.
"""

import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Final

import psutil

from nnlite.settings import SettingsError
from nnlite.settings.groups import EmulatorSettings

#: The emulator's own rule for names.
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
#: Left by an emulator that was killed; the next one refuses to start while they exist.
_LOCKS: Final = ("*.lock", "*/*.lock")


#: Width, height and density of phones' screens, as in `avdmanager list device`.
PROFILES: Final = {
    "pixel_2": (1080, 1920, 420),
    "pixel_4": (1080, 2280, 440),
    "pixel_6": (1080, 2400, 420),
    "pixel_8": (1080, 2400, 420),
}

_ARCHITECTURES: Final = {"x86_64": "x86_64", "arm64-v8a": "arm64"}


def sdk_folder(settings: EmulatorSettings) -> Path:
    """Return the Android SDK's folder, which has an emulator and the system image of the settings.

    Raises:
        SettingsError: no SDK, or a package is missing in it; the message says what to install.
    """
    configured = settings.sdk or os.environ.get("ANDROID_HOME") or os.environ.get("ANDROID_SDK_ROOT")
    if not configured:
        raise SettingsError("no Android SDK: set NNLITE_EMULATOR__SDK or ANDROID_HOME to its folder")
    sdk = Path(configured).expanduser().absolute()
    if not os.access(emulator_program(sdk), os.X_OK):
        raise SettingsError(f"no emulator in the Android SDK {sdk}; install it: sdkmanager emulator")
    if not (sdk / image_folder(settings)).is_dir():
        package = image_folder(settings).replace("/", ";")
        raise SettingsError(f"no system image in {sdk}; install it: sdkmanager '{package}'")
    return sdk


def emulator_program(sdk: Path) -> Path:
    """Return the path of an SDK's emulator."""
    return sdk / "emulator" / "emulator"


def image_folder(settings: EmulatorSettings) -> str:
    """Return the folder of the system image, relative to the SDK."""
    return f"system-images/android-{settings.api_level}/{settings.image}/{settings.abi}"


def find_or_create(name: str, avd_home: Path, settings: EmulatorSettings) -> Path:
    """Return the folder of the AVD `name`, created if it does not exist; an existing one is not changed.

    Raises:
        SettingsError: the name is invalid, or the profile or ABI is unknown.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(f"avd:{name}: an AVD's name has letters, digits, '.', '_' and '-' only")
    pointer = avd_home / f"{name}.ini"
    if pointer.exists():
        return _folder_in(pointer, avd_home / f"{name}.avd")
    if settings.profile not in PROFILES:
        known = ", ".join(PROFILES)
        raise SettingsError(f"NNLITE_EMULATOR__PROFILE={settings.profile}: known profiles are {known}")
    if settings.abi not in _ARCHITECTURES:
        raise SettingsError(f"NNLITE_EMULATOR__ABI={settings.abi}: use {' or '.join(_ARCHITECTURES)}")
    folder = avd_home / f"{name}.avd"
    folder.mkdir(parents=True, exist_ok=True)
    _write_ini(folder / "config.ini", _config(name, settings))
    target = {"avd.ini.encoding": "UTF-8", "path": str(folder), "target": f"android-{settings.api_level}"}
    _write_ini(pointer, target)
    return folder


def emulator_of(name: str, folder: Path) -> int | None:
    """Return the PID of the emulator that runs the AVD `name` by its lock files; None: there is none."""
    files = [lock / "pid" if lock.is_dir() else lock for pattern in _LOCKS for lock in folder.glob(pattern)]
    for file in sorted(files):
        text = file.read_text(errors="replace").strip() if file.is_file() else ""
        if not re.fullmatch("[0-9]{1,9}", text):
            continue
        try:
            words = psutil.Process(int(text)).cmdline()
        except psutil.Error:
            continue
        # Another process may have the PID of one that was killed.
        if f"@{name}" in words or ("-avd", name) in pairwise(words):
            return int(text)
    return None


def remove_stale_locks(folder: Path) -> list[str]:
    """Remove the lock files in the folder of an AVD that no emulator runs; return their names."""
    stale = sorted(lock for pattern in _LOCKS for lock in folder.glob(pattern))
    for lock in stale:
        if lock.is_dir():  # on some systems the emulator's lock is a folder with its PID in it
            for part in lock.iterdir():
                part.unlink(missing_ok=True)
            lock.rmdir()
        else:
            lock.unlink(missing_ok=True)
    return [lock.name for lock in stale]


def _config(name: str, settings: EmulatorSettings) -> dict[str, str]:
    width, height, density = PROFILES[settings.profile]
    return {
        "AvdId": name,
        "PlayStore.enabled": "false",
        "abi.type": settings.abi,
        "avd.ini.displayname": name,
        "avd.ini.encoding": "UTF-8",
        "disk.dataPartition.size": f"{settings.data_partition_mb}M",
        "fastboot.forceColdBoot": "no",  # each start says how to boot
        "hw.accelerometer": "no",
        "hw.audioInput": "no",
        "hw.audioOutput": "no",
        "hw.battery": "yes",
        "hw.camera.back": "none",
        "hw.camera.front": "none",
        "hw.cpu.arch": _ARCHITECTURES[settings.abi],
        "hw.cpu.ncore": str(settings.cores),
        "hw.device.manufacturer": "Google",
        "hw.device.name": settings.profile,
        "hw.gps": "no",
        "hw.gpu.enabled": "yes",
        "hw.gpu.mode": settings.gpu,
        "hw.keyboard": "yes",
        "hw.lcd.density": str(density),
        "hw.lcd.height": str(height),
        "hw.lcd.width": str(width),
        "hw.ramSize": str(settings.memory_mb),
        "hw.sdCard": "no",
        "image.sysdir.1": f"{image_folder(settings)}/",
        "tag.id": settings.image,
        "vm.heapSize": "384",
    }


def _folder_in(pointer: Path, default: Path) -> Path:
    """Return the folder that an AVD's `.ini` file names."""
    for line in pointer.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "path" and Path(value.strip()).is_dir():
            return Path(value.strip())
    return default


def _write_ini(file: Path, values: dict[str, str]) -> None:
    file.write_text("".join(f"{key}={value}\n" for key, value in values.items()), encoding="utf-8")
