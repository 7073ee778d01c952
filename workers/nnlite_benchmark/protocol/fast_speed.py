"""The fast speed of a device: duration of the gate's canary when its cores are fast, learned run by run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from nnlite.reports.schema import MeasurementReport
from nnlite.settings.groups import MeasurementSettings
from nnlite_benchmark.protocol.gating import Gate, low_quantile

#: Nothing is learned from a run with fewer canaries: a slow model has few.
MIN_CANARIES: Final = 20
#: Runs that are remembered for a configuration.
MEMORY: Final = 50
#: The fast speed is what one in so many of these runs saw, or the fastest of fewer.
_ONE_IN: Final = 25


@dataclass
class FastSpeeds:
    """Fast speeds of one device, by CPU configuration: cores, threads and version of the runtime."""

    #: The fast speed that each run saw, nanoseconds, the last one at the end.
    _seen_ns: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def load(self, stored: Mapping[str, Any] | None) -> None:
        """Take over what `to_json` returned; None: nothing is known yet."""
        self._seen_ns = {configuration: tuple(seen) for configuration, seen in (stored or {}).items()}

    def to_json(self) -> dict[str, list[int]]:
        """Return what is stored with the device."""
        return {configuration: list(seen) for configuration, seen in self._seen_ns.items()}

    def fast_ns(self, configuration: str) -> int | None:
        """Return the duration of the canary on a fast core, nanoseconds; None: not known yet."""
        seen = self._seen_ns.get(configuration)
        return sorted(seen)[len(seen) // _ONE_IN] if seen else None

    def gate(self, settings: MeasurementSettings, configuration: str) -> Gate | None:
        """Return the gate of a run; None: the settings ask for none."""
        return Gate.of(settings, self.fast_ns(configuration)) if settings.gated else None

    def learn_from(
        self, report: MeasurementReport, settings: MeasurementSettings, configuration: str
    ) -> None:
        """Add what a measurement saw, if it was gated."""
        if report.gating is not None:
            self.learn(
                configuration,
                [*report.gating.learning_ns, *report.gating.canaries_ns],
                limit=settings.gate_limit,
                reset_runs=settings.gate_reset_runs,
            )

    def learn(self, configuration: str, canaries_ns: Sequence[int], *, limit: float, reset_runs: int) -> None:
        """Add what a run saw; after `reset_runs` runs in a row above the limit, what was before is forgotten.

        Args:
            configuration: of the run.
            canaries_ns: all of the run.
            limit: how much slower than the fast speed still is the same speed.
            reset_runs: so many runs are a change of the device, not a busy neighbour.
        """
        if len(canaries_ns) < MIN_CANARIES:
            return
        fast_ns = self.fast_ns(configuration)
        seen = (*self._seen_ns.get(configuration, ()), low_quantile(canaries_ns))[-MEMORY:]
        last = seen[-reset_runs:]
        if fast_ns is not None and len(last) == reset_runs and min(last) > fast_ns * (1 + limit):
            seen = last
        self._seen_ns[configuration] = seen
