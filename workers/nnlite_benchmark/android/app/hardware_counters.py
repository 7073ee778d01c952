"""Cycles, instructions and cache misses of an inference: simpleperf counts while the app runs."""

from typing import Final

from nnlite.reports.schema import HardwareCounters, RunReport
from nnlite_benchmark.android.adb.shell import CommandResult, Shell
from nnlite_benchmark.android.app.crashes import PACKAGE
from nnlite_benchmark.android.properties.parsers import word
from nnlite_benchmark.android.properties.simpleperf import (
    LIST,
    Counted,
    counted,
    events_of,
    stat_command,
)
from nnlite_benchmark.protocol.analysis.energy import continuous_inference_ns

#: simpleperf counts for this share of a pass, which it must neither precede nor outlast; at most so long.
_SHARE: Final = 0.5
_MOST_S: Final = 10.0


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
