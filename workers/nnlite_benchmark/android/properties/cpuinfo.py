"""Parses `/proc/cpuinfo` of an Android device, x86 and ARM.

ARM kernels print numbers where x86 prints names: the implementer and the part
of each core. Known numbers are mapped to names, unknown ones stay numbers.
Names as in util-linux's `lscpu`:
https://github.com/util-linux/util-linux/blob/master/sys-utils/lscpu-arm.c
"""

import re
from collections import Counter
from typing import Final

from nnlite.reports.schema import ArmCore, Cpu
from nnlite_benchmark.android.properties.parsers import MAX_CORES, numbers_of_cpu_list, word

MAX_FEATURES: Final = 1024
#: Most fields of a core that are kept.
MAX_FIELDS: Final = 64
#: What identifies an ARM core, in /proc/cpuinfo behind `cpu`.
_ARM_FIELDS: Final = ("implementer", "architecture", "variant", "part", "revision")
#: Long lists, which are kept once, as the processor's features.
_FEATURES: Final = ("features", "flags")
UNKNOWN: Final = "unknown"

#: `uname -m` of a kernel for each ABI.
ARCHITECTURES: Final = {"arm64-v8a": "aarch64", "armeabi-v7a": "armv7l", "x86_64": "x86_64", "x86": "i686"}

IMPLEMENTERS: Final = {
    0x41: "ARM",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x50: "APM",
    0x51: "Qualcomm",
    0x53: "Samsung",
    0x56: "Marvell",
    0x61: "Apple",
    0x69: "Intel",
    0x6D: "Microsoft",
    0xC0: "Ampere",
}
_ARM: Final = 0x41
_HISILICON: Final = 0x48
_NVIDIA: Final = 0x4E
_QUALCOMM: Final = 0x51
_SAMSUNG: Final = 0x53
PARTS: Final = {
    (_ARM, 0xC07): "Cortex-A7",
    (_ARM, 0xC09): "Cortex-A9",
    (_ARM, 0xC0F): "Cortex-A15",
    (_ARM, 0xD02): "Cortex-A34",
    (_ARM, 0xD03): "Cortex-A53",
    (_ARM, 0xD04): "Cortex-A35",
    (_ARM, 0xD05): "Cortex-A55",
    (_ARM, 0xD06): "Cortex-A65",
    (_ARM, 0xD07): "Cortex-A57",
    (_ARM, 0xD08): "Cortex-A72",
    (_ARM, 0xD09): "Cortex-A73",
    (_ARM, 0xD0A): "Cortex-A75",
    (_ARM, 0xD0B): "Cortex-A76",
    (_ARM, 0xD0C): "Neoverse-N1",
    (_ARM, 0xD0D): "Cortex-A77",
    (_ARM, 0xD40): "Neoverse-V1",
    (_ARM, 0xD41): "Cortex-A78",
    (_ARM, 0xD44): "Cortex-X1",
    (_ARM, 0xD46): "Cortex-A510",
    (_ARM, 0xD47): "Cortex-A710",
    (_ARM, 0xD48): "Cortex-X2",
    (_ARM, 0xD49): "Neoverse-N2",
    (_ARM, 0xD4B): "Cortex-A78C",
    (_ARM, 0xD4C): "Cortex-X1C",
    (_ARM, 0xD4D): "Cortex-A715",
    (_ARM, 0xD4E): "Cortex-X3",
    (_ARM, 0xD4F): "Neoverse-V2",
    (_ARM, 0xD80): "Cortex-A520",
    (_ARM, 0xD81): "Cortex-A720",
    (_ARM, 0xD82): "Cortex-X4",
    (_ARM, 0xD85): "Cortex-X925",
    (_ARM, 0xD87): "Cortex-A725",
    (_ARM, 0xD8A): "C1-Nano",
    (_ARM, 0xD8B): "C1-Pro",
    (_ARM, 0xD8C): "C1-Ultra",
    (_ARM, 0xD8F): "Cortex-A320",
    (_ARM, 0xD90): "C1-Premium",
    (_HISILICON, 0xD01): "TaiShan-v110",
    (_HISILICON, 0xD02): "TaiShan-v120",
    (_HISILICON, 0xD40): "Cortex-A76",
    (_HISILICON, 0xD41): "Cortex-A77",
    (_NVIDIA, 0x000): "Denver",
    (_NVIDIA, 0x003): "Denver 2",
    (_NVIDIA, 0x004): "Carmel",
    (_QUALCOMM, 0x001): "Oryon",
    (_QUALCOMM, 0x00F): "Scorpion",
    (_QUALCOMM, 0x02D): "Scorpion",
    (_QUALCOMM, 0x04D): "Krait",
    (_QUALCOMM, 0x06F): "Krait",
    (_QUALCOMM, 0x201): "Kryo",
    (_QUALCOMM, 0x205): "Kryo",
    (_QUALCOMM, 0x211): "Kryo",
    (_QUALCOMM, 0x800): "Falkor-V1/Kryo",
    (_QUALCOMM, 0x801): "Kryo-V2",
    (_QUALCOMM, 0x802): "Kryo-3XX-Gold",
    (_QUALCOMM, 0x803): "Kryo-3XX-Silver",
    (_QUALCOMM, 0x804): "Kryo-4XX-Gold",
    (_QUALCOMM, 0x805): "Kryo-4XX-Silver",
    (_QUALCOMM, 0xC00): "Falkor",
    (_QUALCOMM, 0xC01): "Saphira",
    (_SAMSUNG, 0x001): "exynos-m1",
    (_SAMSUNG, 0x002): "exynos-m3",
    (_SAMSUNG, 0x003): "exynos-m4",
    (_SAMSUNG, 0x004): "exynos-m5",
}

Core = dict[str, str]


def cpu(cpuinfo: str, *, online: str | None, machine: str | None, abi: str | None) -> Cpu:
    """Return the processor.

    Args:
        cpuinfo: of /proc/cpuinfo.
        online: of /sys/devices/system/cpu/online, such as `0-7`.
        machine: output of `uname -m`.
        abi: the device's first ABI; gives the architecture if `machine` is missing.
    """
    cores, shared = _with_shared(*_cores(cpuinfo))
    numbers = numbers_of_cpu_list(online)
    # Some kernels print the fields that all cores share once, at the end.
    lists = [core.get("flags") or core.get("features") for core in (*cores, shared)]
    features = next(filter(None, lists), "").split()
    return Cpu(
        architecture=_architecture(machine, abi),
        cores=len(cores) if numbers is None else len(numbers),
        vendor=_vendor(cores, shared),
        features=tuple(kept for name in features[:MAX_FEATURES] if (kept := word(name))),
        model=_model(cores, shared),
        arm=_arm(cores, shared),
        processors=tuple(_fields(core, number) for number, core in enumerate(cores)),
    )


def _cores(cpuinfo: str) -> tuple[list[Core], Core]:
    """Return the fields of every core, and the shared ones; names in lower case."""
    cores: list[Core] = []
    shared: Core = {}
    current = shared
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        key, value = name.strip().lower(), value.strip()
        if not line.strip():
            # A paragraph is a core only if it begins with `processor`.
            current = shared
        elif key == "processor" and value.isascii() and value.isdigit():
            if len(cores) >= MAX_CORES:
                break
            current = {}
            cores.append(current)
        elif colon and value:
            current.setdefault(key, value)
    return cores, shared


def _with_shared(cores: list[Core], shared: Core) -> tuple[list[Core], Core]:
    """Move what only the last of several cores has to the shared fields.

    Kernels of 3.10 print all `processor` lines first, and then the features, implementer and part of the core
    that read the file: they say nothing about the others.
    """
    if len(cores) < 2 or any("cpu part" in core for core in cores[:-1]) or "cpu part" not in cores[-1]:
        return cores, shared
    own = {name: value for name, value in cores[-1].items() if name in cores[0]}
    return [*cores[:-1], own], cores[-1] | shared


def _arm(cores: list[Core], shared: Core) -> ArmCore | None:
    described = [core for core in (shared, *cores) if "cpu part" in core]
    if not described:
        return None
    own = {name: word(described[-1].get(f"cpu {name}")) for name in _ARM_FIELDS}
    return ArmCore(hardware=word(shared.get("hardware")), **own)


def _fields(core: Core, number: int) -> dict[str, str]:
    kept = [(word(name), word(value)) for name, value in core.items() if name not in _FEATURES]
    fields = {"processor": str(number)} | {name: value for name, value in kept if name and value}
    return dict(list(fields.items())[:MAX_FIELDS])


def _architecture(machine: str | None, abi: str | None) -> str:
    if machine and re.fullmatch(r"[A-Za-z0-9_.-]{2,20}", machine):
        return machine
    return ARCHITECTURES.get(abi or "", UNKNOWN)


def _vendor(cores: list[Core], shared: Core) -> str | None:
    names = []
    for core in (*cores, shared):
        number = _hex(core.get("cpu implementer"))
        names.append(core.get("vendor_id") if number is None else IMPLEMENTERS.get(number, hex(number)))
    return word(", ".join(dict.fromkeys(name for name in names if name)))


def _model(cores: list[Core], shared: Core) -> str | None:
    """Return the cores' names with their counts, such as `4 x Cortex-A53 + 4 x Cortex-A73`."""
    parts = Counter(name for core in cores if (name := _part(core)))
    if parts:
        return word(" + ".join(f"{count} x {name}" for name, count in parts.items()))
    names = [core.get("model name") for core in (*cores, shared)]
    return word(next((name for name in names if name), _part(shared) or shared.get("processor")))


def _part(core: Core) -> str | None:
    implementer, part = _hex(core.get("cpu implementer")), _hex(core.get("cpu part"))
    if implementer is None or part is None:
        return None
    return PARTS.get((implementer, part), f"{IMPLEMENTERS.get(implementer, hex(implementer))} 0x{part:03x}")


def _hex(text: str | None) -> int | None:
    if text is None or not re.fullmatch(r"0x[0-9a-fA-F]{1,4}", text):
        return None
    return int(text, 16)
