"""The kernel's counters of a device, read through adb during the timed runs, and the causes they name."""

import pytest

from nnlite.reports.schema import Disturbance, RunReport
from nnlite.vocabulary import Reason, Stage, Verdict
from nnlite_benchmark.android.properties.counters import SystemCounters
from nnlite_benchmark.protocol.analysis.noise import noise_cause


class Phone:
    """A phone with two cores; `files` is what its commands print, `now_s` the host's clock."""

    def __init__(self, *missing):
        self.now_s = 50.0
        self.readings = 0
        self.missing = missing
        self.ticks = [[0] * 10, [0] * 10]
        self.waited_us = 0
        self.khz = 2_000_000

    def spend(self, seconds, *, busy=(0, 0), steal=0, waited_s=0.0):
        """Let time pass in which so many seconds of each core were in use."""
        self.now_s += seconds
        self.waited_us += round(waited_s * 1e6)
        for times, used_s in zip(self.ticks, busy, strict=True):
            times[0] += round(100 * used_s)
            times[3] += round(100 * (seconds - used_s - steal))
            times[7] += round(100 * steal)

    def shell_output(self, line):
        self.readings += 1
        cores = "".join(f"cpu{n} {' '.join(map(str, times))}\n" for n, times in enumerate(self.ticks))
        waited = f"some avg10=0.00 avg60=0.00 avg300=0.00 total={self.waited_us}\n"
        printed = {
            "stat": f"cpu  9 9 9 9 9 9 9 9 0 0\n{cores}intr 7 0 0\n",
            "frequencies": f"/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq:{self.khz}\n",
            **dict.fromkeys(("cpu", "memory", "io"), waited),
        }
        return "\n".join(
            f"nnlite-answer:{name}\n{'' if name in self.missing else text}" for name, text in printed.items()
        )

    def counters(self):
        return SystemCounters(self.shell_output, lambda: self.now_s)


def seen(counters, *, own_cores=0.9, cores=(0, 1)):
    """Return the disturbance of a run of the app in which it used `own_cores`."""
    disturbance = Disturbance(
        window_ns=2_000_000_000, cores=len(cores), own_cores=own_cores, migrations=3, frequency_max_khz=1
    )
    report = RunReport(
        runtime="TFLite",
        runtime_version="2.16.1",
        threads=1,
        cores=cores,
        stage=Stage.RUN,
        disturbance=disturbance,
    )
    return counters.added_to(report).disturbance


def test_what_others_used_is_the_time_in_use_without_the_apps():
    phone = Phone()
    counters = phone.counters()
    counters.note()
    phone.spend(2, busy=(1.9, 1.5), steal=0.1, waited_s=0.5)
    phone.khz = 1_000_000
    counters.note()

    found = seen(counters)

    assert found.foreign_cores == pytest.approx((1.9 + 1.5) / 2 - 0.9)
    assert found.steal == pytest.approx(0.05)
    assert (found.cpu_pressure, found.memory_pressure, found.io_pressure) == (0.25, 0.25, 0.25)
    assert (found.frequency_min_khz, found.frequency_max_khz) == (1, 2_000_000)
    assert found.migrations == 3  # as the app says
    assert noise_cause(Verdict.NOISY, (Reason.SPREAD,), found).startswith(
        "steal 5 %, other processes used 0.8 of 2 cores, frequency fell"
    )


def test_a_long_run_is_read_seldom_and_to_its_last_half():
    phone = Phone()
    counters = phone.counters()
    for _ in range(640):
        counters.note()
        phone.spend(0.1)

    # At 0, 0.5, 1, 2, ..., 32 s.
    assert phone.readings == 8


@pytest.mark.parametrize(
    ("missing", "unknown"),
    [
        ("stat", ("steal", "foreign_cores")),
        ("io", ("io_pressure",)),
        ("cpu", ("cpu_pressure",)),
    ],
)
def test_a_file_that_the_device_does_not_have_is_unknown(missing, unknown):
    phone = Phone(missing)
    counters = phone.counters()
    counters.note()
    phone.spend(1, busy=(1, 0))
    counters.note()

    found = seen(counters)

    read = ("steal", "foreign_cores", "cpu_pressure", "memory_pressure", "io_pressure")
    assert tuple(name for name in read if getattr(found, name) is None) == unknown


def test_without_two_readings_or_the_apps_time_nothing_is_guessed():
    phone = Phone()
    counters = phone.counters()
    assert seen(counters).foreign_cores is None
    counters.note()
    assert seen(counters).steal is None
    phone.spend(1, busy=(1, 0))
    counters.note()
    assert seen(counters, own_cores=None).foreign_cores is None
    assert seen(counters, cores=(0, 7)).steal is None  # a core that is not in /proc/stat
    assert seen(counters, cores=()).steal is None
