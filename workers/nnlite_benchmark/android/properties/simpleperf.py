"""Runs `simpleperf stat` on the app and parses what it counts; phones have it from Android 10 on, mostly.

The app is profileable by the shell. Formats are those of AOSP's system/extras/simpleperf: `list hw` prints
one event a line, `stat --csv` lines `COUNT,EVENT,COMMENT,(SHARE%),` and `Total test time,SECONDS,seconds,`.
"""

import re
from dataclasses import dataclass
from typing import Final

#: What is counted, as far as the phone can; six counters at a time are usual.
EVENTS: Final = ("cpu-cycles", "instructions", "cache-references", "cache-misses", "branch-misses")
LIST: Final = "simpleperf list hw"
_COUNT: Final = re.compile(r"(\d{1,18}),([a-z-]{1,40})(?::[uk])?,.{0,200}?(?:\((\d{1,3})%\),?)?", re.ASCII)
_TIME: Final = re.compile(r"Total test time,(\d{1,6}\.\d{1,9}),seconds,?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What was counted of all threads of the app, and for how long."""

    seconds: float
    #: By event; only of those that were counted all the time, or scaled by simpleperf.
    counts: dict[str, int]


def events_of(listed: str) -> tuple[str, ...]:
    """Return those of `EVENTS` that a phone lists; empty: it has no simpleperf, or no counters for apps."""
    words = {words[0] for line in listed.splitlines() if (words := line.split())}
    return tuple(event for event in EVENTS if event in words)


def stat_command(package: str, events: tuple[str, ...], seconds: float) -> str:
    """Return the command that counts events of a running app for so long."""
    named = ",".join(events)
    return f"simpleperf stat --app {package} -e {named} --csv --duration {seconds:.1f}"


def counted(text: str) -> Counted:
    """Parse what `stat --csv` prints.

    Raises:
        ValueError: it counted nothing; the message has what it said.
    """
    lines = [line.strip() for line in text.splitlines()]
    time = next((match for line in lines if (match := _TIME.fullmatch(line))), None)
    counts = {
        match[2]: int(match[1])
        for line in lines
        if (match := _COUNT.fullmatch(line)) and match[2] in EVENTS and match[3] != "0"
    }
    if time is None or not float(time[1]) or not counts.get("cpu-cycles", counts.get("instructions")):
        raise ValueError(f"simpleperf counted nothing: {text.strip()[:300] or 'it printed nothing'}")
    return Counted(seconds=float(time[1]), counts=counts)
