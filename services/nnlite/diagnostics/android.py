"""Android checks of `nnlite doctor`: SDK, emulator, app, adb, and foreign adb servers.

Nothing here imports adbutils or starts an adb server: looking must not attach
a phone that a worker owns.
"""

import os
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from nnlite.diagnostics.finding import Finding
from nnlite.host.adb_services import attached_devices, server_port
from nnlite.host.installation import install_hint
from nnlite.settings import Settings
from nnlite.settings.groups import EmulatorSettings

#: Longest that the emulator may think about its acceleration, seconds.
_ACCELERATION_S = 20
_SDK_VARIABLES = ("ANDROID_HOME", "ANDROID_SDK_ROOT")
#: The benchmark app's name in the home, where nothing else is set.
_APK = "nnlite-benchmark.apk"


def android_findings(settings: Settings) -> Iterator[Finding]:
    """Say which Android devices can be used here; only what was set and is not there is missing."""
    yield from _emulator(settings.emulator)
    yield _app(settings)
    yield _adb(settings)
    yield _foreign_server()


def _emulator(settings: EmulatorSettings) -> Iterator[Finding]:
    sdk, source = _sdk(settings)
    if sdk is None:
        message = (
            "not found; for emulators: install it and set NNLITE_EMULATOR__SDK or ANDROID_HOME to its folder"
        )
        yield Finding("Android SDK", "note", message)
        return
    if not sdk.is_dir():
        state = "missing" if settings.sdk else "note"
        yield Finding("Android SDK", state, f"{source}={sdk} is no folder")
        return
    program = sdk / "emulator" / "emulator"
    image = sdk / "system-images" / f"android-{settings.api_level}" / settings.image / settings.abi
    package = f"system-images;android-{settings.api_level};{settings.image};{settings.abi}"
    absent = [
        f"{what} (sdkmanager '{name}')"
        for what, name, there in (
            ("no emulator", "emulator", os.access(program, os.X_OK)),
            ("no system image", package, image.is_dir()),
        )
        if not there
    ]
    message = f"{sdk} ({source}): {', '.join(absent) or f'emulator and system image {package}'}"
    yield Finding("Android SDK", "note" if absent else "ok", message)
    if os.access(program, os.X_OK):
        yield _acceleration(program, settings)


def _sdk(settings: EmulatorSettings) -> tuple[Path | None, str]:
    if settings.sdk:
        return settings.sdk.expanduser(), "NNLITE_EMULATOR__SDK"
    return next(
        ((Path(os.environ[name]), name) for name in _SDK_VARIABLES if os.environ.get(name)), (None, "")
    )


def _acceleration(program: Path, settings: EmulatorSettings) -> Finding:
    try:
        checked = subprocess.run(
            [program, "-accel-check"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ACCELERATION_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f"{program} -accel-check gave no answer within {_ACCELERATION_S} s"
        return Finding("acceleration", "note", message)
    except OSError as error:
        return Finding("acceleration", "note", f"{program}: {error.strerror}")
    # Between two lines `accel`: a number, and then words.
    words = [line for line in (checked.stdout + checked.stderr).splitlines() if line.strip()]
    output = " ".join(line for line in words if line.rstrip(":") != "accel" and not line.strip().isdigit())
    if checked.returncode == 0:
        return Finding("acceleration", "ok", output or "usable")
    hint = "" if settings.acceleration else "; emulators start without it and are very slow"
    return Finding("acceleration", "note", f"{output or 'not usable'}{hint}")


def _app(settings: Settings) -> Finding:
    apk = settings.android.apk or settings.home / _APK
    if apk.is_file():
        return Finding("benchmark app", "ok", str(apk))
    state = "missing" if settings.android.apk else "note"
    message = (
        f"no {apk}; for Android devices: `make apk` in a checkout makes it, NNLITE_ANDROID__APK names it"
    )
    return Finding("benchmark app", state, message)


def _adb(settings: Settings) -> Finding:
    if settings.android.adb:
        usable = os.access(settings.android.adb, os.X_OK)
        message = (
            f"{settings.android.adb}" if usable else f"NNLITE_ANDROID__ADB={settings.android.adb}: no program"
        )
        return Finding("adb", "ok" if usable else "missing", message)
    spec = find_spec("adbutils")
    program = Path(spec.origin).parent / "binaries" / "adb" if spec and spec.origin else None
    if program is not None and program.is_file():
        return Finding("adb", "ok", f"{program} (of adbutils)")
    message = f"not found; for Android devices: {install_hint('benchmark')}, or set NNLITE_ANDROID__ADB"
    return Finding("adb", "note", message)


def _foreign_server() -> Finding:
    """Say whether another adb server holds phones: two servers that see one phone take it from each other."""
    try:
        port = server_port()
    except ValueError as error:
        return Finding("adb server", "note", str(error))
    attached = attached_devices(port)
    if attached is None:
        return Finding("adb server", "ok", f"none on port {port}: phones are the workers'")
    phones = [
        device.serial for device in attached if ":" not in device.serial and "emulator-" not in device.serial
    ]
    if not phones:
        return Finding("adb server", "ok", f"one on port {port} that holds no phone")
    message = (
        f"one on port {port} holds {', '.join(phones)}: a worker cannot own a phone that it holds; "
        f"end it with `adb -P {port} kill-server`"
    )
    return Finding("adb server", "note", message)
