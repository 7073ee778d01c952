"""The procedure of a measurement on any device, with runs that are simulated."""

import itertools
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
import pytest

from nnlite.host.quiet import QuietResult
from nnlite.reports.schema import RunReport
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, QuietMode, Stage
from nnlite_benchmark.device import RuntimeRefusal
from nnlite_benchmark.protocol import measuring
from nnlite_benchmark.protocol.analysis.measurement import Run
from nnlite_benchmark.protocol.last_canary import LastCanary
from nnlite_benchmark.protocol.measuring import CANARY_JOB, always_quiet, measure

SETTINGS = MeasurementSettings()


def run(plan, error=None):
    report = RunReport(runtime="none", runtime_version="0", threads=1, stage=Stage.RUN, error=error)
    return Run(
        report=report,
        samples_ns=np.full(50, 1_000_000, np.int64),
        outputs=(),
        started_at=datetime.now(UTC),
    )


def refused(plan):
    return run(plan, error="unknown operator")


@contextmanager
def disturbed():
    yield QuietResult(mode=QuietMode.TIME_SLICED, quiet=True, waited_s=0.0, undisturbed=False)


@pytest.fixture
def measured(monkeypatch):
    """Measure once; returns the report's canary. Canaries take 1000, 1001, ... ns."""
    ran_ns, last = itertools.count(1000), LastCanary()
    monkeypatch.setattr(measuring, "canary_ns", lambda *_, **__: next(ran_ns))

    def once(run=run, quiet=always_quiet, settings=SETTINGS):
        report = measure(CANARY_JOB, Backend.CPU, run, settings, device="phone", quiet=quiet(), last=last)
        return report.canary.before_p25_ns, report.canary.after_p25_ns, report.canary.reused

    return once


def test_the_canary_after_a_measurement_on_a_phone_is_the_one_before_the_next(measured):
    assert [measured(), measured()] == [(1000, 1001, False), (1001, 1002, True)]


def test_no_canary_is_reused_when_something_ran_between_or_never(measured):
    measured()
    assert measured(quiet=disturbed) == (1002, 1003, False)
    assert measured(settings=MeasurementSettings(canary_reuse_s=0)) == (1004, 1005, False)


def test_no_canary_is_reused_after_a_refusal(measured):
    measured()
    with pytest.raises(RuntimeRefusal):
        measured(refused)
    assert measured() == (1002, 1003, False)
