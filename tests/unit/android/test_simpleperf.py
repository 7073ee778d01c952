"""What simpleperf counts of the app, from what it prints, and what comes of it for one inference.

No phone was available: the texts follow the format strings of AOSP's system/extras/simpleperf.
"""

import pytest

from nnlite.reports.schema import Bins, RunReport
from nnlite.vocabulary import Stage
from nnlite_benchmark.android.adb.shell import CommandResult
from nnlite_benchmark.android.app.hardware_counters import (
    EVENTS,
    AppCounters,
    counted,
    events_of,
    stat_command,
)

pytestmark = pytest.mark.fast
S = 1_000_000_000
LISTED = (
    "List of hardware events:\n  branch-misses\n  bus-cycles\n  cache-misses\n  cpu-cycles\n  instructions\n"
)
COUNTED = """\
Performance counter statistics,
20000000000,cpu-cycles,2.000000,GHz,(100%),
30000000000,instructions,0.666667,cycles per instruction,(83%),
400000,cache-misses,40.000,K/sec,(50%),
0,branch-misses,0.000,/sec,(0%),
Total test time,10.000000,seconds,
"""


def test_those_events_are_counted_that_the_phone_lists():
    assert events_of(LISTED) == ("cpu-cycles", "instructions", "cache-misses", "branch-misses")
    assert events_of("/system/bin/sh: simpleperf: inaccessible or not found\n") == ()
    assert events_of("") == ()
    assert stat_command("org.app", ("cpu-cycles", "instructions"), 10) == (
        "simpleperf stat --app org.app -e cpu-cycles,instructions --csv --duration 10.0"
    )


def test_counts_and_their_time_are_read():
    found = counted(COUNTED)
    assert found.seconds == 10
    assert found.counts == {
        "cpu-cycles": 20_000_000_000, "instructions": 30_000_000_000, "cache-misses": 400_000,
    }  # fmt: skip
    assert counted(COUNTED.replace("\n", "\r\n").replace("cpu-cycles,", "cpu-cycles:u,")) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "simpleperf E environment.cpp:1] Failed to find process\n",
        COUNTED.replace("Total test time,10.000000", "Total test time,0.000000"),
        COUNTED.partition("Total")[0],
        COUNTED.replace("20000000000,cpu", "-5,cpu").replace("30000000000,ins", "nan,ins"),
        COUNTED.replace("20000000000,cpu", "9" * 40 + ",cpu").replace("30000000000", "0x10"),
    ],
)
def test_what_counted_nothing_says_so(text):
    with pytest.raises(ValueError, match="simpleperf counted nothing: "):
        counted(text)


class Phone:
    """A shell that has simpleperf, or prints what one prints that has not."""

    def __init__(self, listed=LISTED, counts=COUNTED, stderr=""):
        self.listed, self.counts, self.stderr, self.commands = listed, counts, stderr, []

    def run(self, command, *, lasts_s=0.0):
        self.commands.append(command)
        self.lasts_s = lasts_s
        stdout = self.listed if command == "simpleperf list hw" else self.counts
        return CommandResult(stdout=stdout, stderr=self.stderr, status=0)


def report_of(phone, *, seconds=20, notes=3):
    bins = Bins(end_ns=(S, 2 * S), runs=(100, 100), median_ns=(9_000_000, 9_000_000))
    report = RunReport(runtime="TFLite", runtime_version="2.16.1", threads=1, stage=Stage.RUN, bins=bins)
    counters = AppCounters(phone, seconds)
    for _ in range(notes):
        counters.note()
    return counters.added_to(report).counters


def test_counts_are_those_of_one_inference():
    phone = Phone()
    counters = report_of(phone)
    # 10 s of inferences of 10 ms.
    assert counters.per_inference == {"cpu-cycles": 2e7, "instructions": 3e7, "cache-misses": 400}
    assert (counters.seconds, counters.error) == (10, None)
    assert len(phone.commands) == 2, "once"
    assert phone.commands[1].endswith("--csv --duration 10.0") and phone.lasts_s == 10
    assert "org.nnlite.benchmark -e cpu-cycles,instructions,cache-misses,branch-misses" in phone.commands[1]


def test_half_of_a_short_pass_is_counted():
    phone = Phone()
    report_of(phone, seconds=4)
    assert phone.commands[1].endswith("--duration 2.0")


@pytest.mark.parametrize(
    ("phone", "notes", "why"),
    [
        (
            Phone(listed="", stderr="simpleperf: not found"),
            2,
            "no simpleperf that counts: simpleperf: not found",
        ),
        (Phone(listed=""), 2, "no simpleperf that counts: exit status 0"),
        (
            Phone(counts="", stderr="Permission denied"),
            2,
            "simpleperf counted nothing: it printed nothing Perm",
        ),
        (Phone(), 0, "the pass was too short"),
    ],
)
def test_a_phone_that_counts_nothing_says_why(phone, notes, why):
    counters = report_of(phone, notes=notes)
    assert why in counters.error
    assert not counters.per_inference
    assert set(EVENTS) >= set(counters.per_inference)
