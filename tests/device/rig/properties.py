"""The system properties of a virtual device: one file each, which a small `getprop` script reads."""

from collections.abc import Mapping
from pathlib import Path

from device.rig.files import replace_text

FOLDER = Path("/dev/__properties__")
#: Folder of properties that are kept across boots.
PERSISTENT = Path("/data/property")


def reset(device: Mapping[str, str]) -> None:
    """Set the properties at the start of a boot: common ones, the device's own, persistent ones."""
    for folder in (FOLDER, PERSISTENT):
        folder.mkdir(parents=True, exist_ok=True)
    for name, value in {**_EVERY_DEVICE, **device}.items():
        put(name, value)
    for file in PERSISTENT.iterdir():
        put(file.name, file.read_text())


def put(name: str, value: str) -> None:
    """Set a property."""
    replace_text(FOLDER / name, value)


def emulator_properties(name: str) -> dict[str, str]:
    """Return the properties of an emulator with API 30, without model and manufacturer."""
    return {
        "ro.boot.qemu": "1",
        "ro.boot.qemu.avd_name": name,
        "ro.hardware": "ranchu",
        "ro.boot.hardware": "ranchu",
        "ro.kernel.qemu": "1",
        "ro.kernel.qemu.avd_name": name,
        "ro.product.board": "goldfish_x86_64",
        "ro.board.platform": "",
        "ro.build.characteristics": "emulator",
        "ro.build.fingerprint": "rig/sdk_gphone_x86_64/generic_x86_64_arm64:11/"
        "RSR1.210722.013/1:userdebug/dev-keys",
        "ro.product.device": "generic_x86_64_arm64",
        "ro.product.name": "sdk_gphone_x86_64",
        "ro.build.type": "userdebug",
        "ro.debuggable": "1",
    }


def phone_properties(serial: str) -> dict[str, str]:
    """Return the properties of a phone with API 30, without model and manufacturer."""
    return {
        "ro.serialno": serial,
        "ro.hardware": "rigphone",
        "ro.boot.hardware": "rigphone",
        "ro.product.board": "rigphone",
        "ro.board.platform": "rig1000",
        "ro.soc.manufacturer": "Rig",
        "ro.soc.model": "RIG1000",
        "ro.build.characteristics": "nosdcard",
        "ro.build.fingerprint": "rig/rigphone/rigphone:11/RQ3A.211001.001/1:user/release-keys",
        "ro.product.device": "rigphone",
        "ro.product.name": "rigphone",
        "ro.build.type": "user",
        "ro.debuggable": "0",
    }


_EVERY_DEVICE = {
    "ro.product.model": "rig",
    "ro.product.manufacturer": "rig",
    "ro.product.brand": "rig",
    "ro.product.cpu.abi": "x86_64",
    "ro.product.cpu.abilist": "x86_64,x86",
    "ro.build.version.release": "11",
    "ro.build.version.sdk": "30",
    "ro.build.version.security_patch": "2021-08-05",
    "ro.build.version.codename": "REL",
    "ro.build.id": "RSR1.210722.013",
    "ro.crypto.state": "encrypted",
    "persist.sys.timezone": "UTC",
    "init.svc.adbd": "running",
    "init.svc.bootanim": "running",
    "init.svc.zygote": "running",
    "sys.usb.state": "adb",
}
