"""Which cores a phone has online, and how fast each may be, from what its files say."""

import pytest

from nnlite_benchmark.android.properties.analytics import highest_khz
from unit.android.recorded_device import device_printing

pytestmark = pytest.mark.fast
PATH = "/sys/devices/system/cpu/cpu"


def limits(*khz: int | str) -> str:
    return "".join(f"{PATH}{core}/cpufreq/cpuinfo_max_freq:{value}\n" for core, value in enumerate(khz))


@pytest.mark.parametrize(
    ("online", "highest", "cores"),
    [
        (
            "0-3\n",
            limits(1_800_000, 1_800_000, 2_400_000, 2_900_000),
            {0: 1_800_000, 1: 1_800_000, 2: 2_400_000, 3: 2_900_000},
        ),
        ("0,2\n", limits(1_800_000, 1_800_000, 2_400_000), {0: 1_800_000, 2: 2_400_000}),
        ("0-1\n", "", {0: None, 1: None}),
        ("0-1\n", limits("<unknown>", 99_000_000_000), {0: None, 1: None}),
        ("cat: /sys/devices/system/cpu/online: Permission denied\n", limits(1_800_000), {0: 1_800_000}),
        ("", "", {}),
        ("0-99999\n", limits(1_800_000), {0: 1_800_000}),
    ],
)
def test_cores_and_their_highest_frequency(online, highest, cores):
    assert highest_khz(device_printing({"online": online, "highest": highest})) == cores
