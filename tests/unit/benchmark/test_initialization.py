"""Initialization with a cache: two processes, whose failures are none of the measurement."""

from datetime import UTC, datetime

import numpy as np
import pytest

from nnlite.reports.schema import Initialization, RunReport
from nnlite.vocabulary import Fault, Stage
from nnlite_benchmark.device import DeviceFailure
from nnlite_benchmark.protocol.analysis.measurement import Run
from nnlite_benchmark.protocol.initialization import with_initialization

CACHE = "XNNPACK's packed weights"


def report(**fields):
    return RunReport(runtime="LiteRT", runtime_version="2", threads=1, stage=Stage.RUN, **fields)


def initialized(*outcomes):
    """Return the initialization of a run whose processes have these outcomes: a report or a failure."""
    remaining = iter(outcomes)

    def initialize():
        outcome = next(remaining)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    run = Run(report=report(), samples_ns=np.array([1]), outputs=(), started_at=datetime.now(UTC))
    found = with_initialization(run, CACHE, initialize).report.initialization
    assert next(remaining, None) is None
    return found


def test_the_first_process_is_cold_and_the_second_one_warm():
    assert initialized(report(init_ns=70), report(init_ns=5)) == Initialization(
        cache=CACHE, init_cold_ns=70, init_warm_ns=5
    )


DIED = DeviceFailure(Fault.PROCESS_DIED, Stage.INITIALIZE, "the measuring process died")


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([report(error="no cache")], {"init_error": "no cache"}),
        ([report(init_ns=70), report(error="damaged")], {"init_cold_ns": 70, "init_error": "damaged"}),
        ([DIED], {"init_error": DIED.reason}),
        ([report(init_ns=70), DIED], {"init_cold_ns": 70, "init_error": DIED.reason}),
    ],
    ids=["refused", "refused when warm", "died", "died when warm"],
)
def test_a_failure_is_named_and_what_came_before_is_kept(outcomes, expected):
    assert initialized(*outcomes) == Initialization(cache=CACHE, **expected)
