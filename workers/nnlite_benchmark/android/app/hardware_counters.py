"""Cycles, instructions and cache misses of an inference: `simpleperf stat` counts while the app runs.

Phones have it from Android 10 on, mostly; the app is profileable by the shell. Formats are those of AOSP's
system/extras/simpleperf: `list hw` prints an event a line, `stat --csv` lines `COUNT,EVENT,COMMENT,(SHARE%),`
and `Total test time,SECONDS,seconds,`.
"""

import re
from dataclasses import dataclass
from typing import Final

from nnlite.reports.schema import HardwareCounters, RunReport
from nnlite_benchmark.android.adb.shell import CommandResult, Shell
from nnlite_benchmark.android.app.crashes import PACKAGE
from nnlite_benchmark.android.properties.parsers import word
from nnlite_benchmark.protocol.analysis.energy import continuous_inference_ns

#: What is counted, as far as the phone can; six counters at a time are usual.
EVENTS: Final = ("cpu-cycles", "instructions", "cache-references", "cache-misses", "branch-misses")
LIST: Final = "simpleperf list hw"
_COUNT: Final = re.compile(r"(\d{1,18}),([a-z-]{1,40})(?::[uk])?,.{0,200}?(?:\((\d{1,3})%\),?)?", re.ASCII)
_TIME: Final = re.compile(r"Total test time,(\d{1,6}\.\d{1,9}),seconds,?", re.ASCII)
#: simpleperf counts for this share of a pass, which it must neither precede nor outlast; at most so long.
_SHARE: Final = 0.5
_MOST_S: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What was counted of all threads of the app, and for how long."""

    seconds: float
    #: By event; only of those that were counted all the time, or scaled by simpleperf.
    counts: dict[str, int]


class AppCounters:
    """One count of the app's events during one pass of continuous inference."""

    def __init__(self, shell: Shell, seconds: float) -> None:
        self._shell = shell
        self._seconds = min(_MOST_S, _SHARE * seconds)
        self._counted: Counted | None = None
        self._error: str | None = None

    def note(self) -> None:
        """Count once; call it while the artifact runs. It takes half of the pass, at most ten seconds.

        Raises:
            Failure: the shell cannot be used.
        """
        if self._counted is not None or self._error is not None:
            return
        listed = self._shell.run(LIST)
        events = events_of(listed.text)
        if not events:
            self._error = f"the phone has no simpleperf that counts: {_said(listed)}"
            return
        command = stat_command(PACKAGE, events, self._seconds)
        result = self._shell.run(command, lasts_s=self._seconds)
        try:
            self._counted = counted(result.stdout)
        except ValueError as error:
            self._error = f"{error} {_said(result)}".strip()

    def added_to(self, report: RunReport) -> RunReport:
        """Return the report of a pass with the counts of an inference, or the reason why there are none."""
        inference_ns = continuous_inference_ns(report)
        if inference_ns is None:
            return report
        counters = HardwareCounters(error=word(self._error or "the pass was too short"))
        if self._counted is not None:
            inferences = self._counted.seconds * 1e9 / inference_ns
            counts = {event: count / inferences for event, count in self._counted.counts.items()}
            counters = HardwareCounters(seconds=self._counted.seconds, per_inference=counts)
        return report.model_copy(update={"counters": counters})


def _said(result: CommandResult) -> str:
    return result.text[:200] or f"exit status {result.status}"


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
