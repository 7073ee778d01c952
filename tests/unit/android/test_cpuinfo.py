"""The processor of a device is read from /proc/cpuinfo, whichever kernel printed it."""

import pytest

from nnlite.vocabulary import DeviceKind, QuietMode
from nnlite_benchmark.android.properties.analytics import android_context
from nnlite_benchmark.android.properties.cpuinfo import cpu
from unit.android.recorded_device import recorded


def context(shell_output):
    return android_context(
        shell_output, name="usb:abc", kind=DeviceKind.PHONE, pool="phones", quiet_mode=QuietMode.OWN_MACHINE
    )


OLD_ARM64 = """\
Processor\t: AArch64 Processor rev 3 (aarch64)
processor\t: 0
processor\t: 1
processor\t: 2
processor\t: 3
Features\t: fp asimd aes pmull sha1 sha2 crc32
CPU implementer\t: 0x41
CPU architecture: AArch64
CPU variant\t: 0x0
CPU part\t: 0xd03
CPU revision\t: 3

Hardware\t: Qualcomm Technologies, Inc MSM8916
"""
OLD_ARM = """\
Processor\t: ARMv7 Processor rev 0 (v7l)
processor\t: 0
BogoMIPS\t: 38.40

processor\t: 1
BogoMIPS\t: 38.40

Features\t: swp half thumb fastmult vfp edsp neon vfpv3 tls vfpv4
CPU implementer\t: 0x51
CPU architecture: 7
CPU variant\t: 0x2
CPU part\t: 0x06f
CPU revision\t: 0

Hardware\t: Qualcomm MSM 8974 HAMMERHEAD (Flattened Device Tree)
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OLD_ARM64, (4, "ARM", "Cortex-A53", "crc32", "Qualcomm Technologies, Inc MSM8916")),
        (OLD_ARM, (2, "Qualcomm", "Krait", "vfpv4", "Qualcomm MSM 8974 HAMMERHEAD (Flattened Device Tree)")),
    ],
)
def test_kernels_of_3_10_describe_one_core_which_says_nothing_about_the_others(text, expected):
    processor = cpu(text, online=None, machine="aarch64", abi=None)

    assert expected == (
        processor.cores, processor.vendor, processor.model, processor.features[-1], processor.arm.hardware
    )  # fmt: skip
    assert [fields["processor"] for fields in processor.processors] == [
        str(core) for core in range(expected[0])
    ]
    assert not any("cpu part" in fields for fields in processor.processors)


def test_a_core_that_alone_is_described_by_itself_is_not_shared():
    assert cpu(
        "processor : 0\nCPU implementer : 0x41\nCPU part : 0xd05\n", online=None, machine=None, abi=None
    ).model == ("1 x Cortex-A55")


def test_an_arm_core_has_what_identifies_it_and_an_x86_processor_has_not():
    pixel = context(recorded("pixel_8")).cpu

    assert pixel.arm.model_dump() == {
        "hardware": None,
        "implementer": "0x41",
        "architecture": "8",
        "variant": "0x1",
        "part": "0xd4e",
        "revision": "0",
    }
    assert len(pixel.processors) == 9
    assert pixel.processors[8]["cpu part"] == "0xd4e"
    assert context(recorded("virtualbox_x86_64")).cpu.arm is None


@pytest.mark.parametrize(
    ("implementer", "part", "name"),
    [
        ("0x51", "0x800", "Falkor-V1/Kryo"),
        ("0x51", "0x803", "Kryo-3XX-Silver"),
        ("0x51", "0x804", "Kryo-4XX-Gold"),
        ("0x53", "0x001", "exynos-m1"),
        ("0x53", "0x004", "exynos-m5"),
        ("0x48", "0xd40", "Cortex-A76"),
        ("0x48", "0xd02", "TaiShan-v120"),
        ("0x41", "0xd8b", "C1-Pro"),
        ("0x48", "0xd99", "HiSilicon 0xd99"),
    ],
)
def test_cores_have_the_names_of_lscpu(implementer, part, name):
    text = f"processor : 0\nCPU implementer : {implementer}\nCPU part : {part}\n"

    assert cpu(text, online=None, machine=None, abi=None).model == f"1 x {name}"
