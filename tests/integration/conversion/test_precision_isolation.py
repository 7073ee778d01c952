"""A crash, a hang or a lack of memory in one precision costs that precision only."""

import mmap
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from integration.conversion.models import CLASSIFIER, network
from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import Precision, Stage
from nnlite_conversion.isolation import supervision
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.pipeline import making, stages
from nnlite_conversion.pipeline.verifying import parity
from waiting import HANG_S, JumpingClock

SOME = (Precision.FP32, Precision.DYNAMIC, Precision.FP16)


class SharedCounter:
    """Counts in every process that is forked from this one."""

    def __init__(self) -> None:
        self._bytes = mmap.mmap(-1, 1)

    def add(self) -> None:
        self._bytes[0] += 1

    @property
    def count(self) -> int:
        return self._bytes[0]


@pytest.fixture
def lowered(monkeypatch) -> SharedCounter:
    """How often a network was lowered."""
    counter, lower = SharedCounter(), stages.lower

    def counted(*arguments):
        counter.add()
        return lower(*arguments)

    monkeypatch.setattr(stages, "lower", counted)
    return counter


def killed(number):
    """A quantizer that ends its process."""

    def quantizer(fp32, target, data):
        os.kill(os.getpid(), number)

    return quantizer


def run(job, settings, place, tick=lambda stage: True):
    return convert(job, settings, workdir=place, tick=tick)


@pytest.fixture(params=[signal.SIGSEGV, signal.SIGKILL])
def number(request, monkeypatch) -> signal.Signals:
    """The signal that the quantizer of `dynamic` dies of."""
    dying = {Precision.DYNAMIC: killed(request.param)}
    monkeypatch.setattr(making, "QUANTIZERS", making.QUANTIZERS | dying)
    return request.param


def test_a_quantizer_that_dies_costs_its_precision_only(job, settings, place, lowered, number):
    with run(job(CLASSIFIER, precisions=SOME), settings, place) as outcome:
        made = {artifact.precision: artifact for artifact in outcome.artifacts}
        assert all(artifact.path.stat().st_size == artifact.size_bytes for artifact in made.values())

    assert list(made) == [Precision.FP32, Precision.FP16] and lowered.count == 1
    (refused,) = outcome.refused
    assert (refused.precision, refused.stage) == (Precision.DYNAMIC, Stage.QUANTIZE)
    assert refused.failure_class is FailureClass.CONVERTER
    assert number.name in refused.reason and refused.details["signal"] == number
    assert outcome.state_dict_sha256 and outcome.parameters
    assert set(outcome.timings_ns) == {Stage.LOAD, Stage.EXPORT, Stage.LOWER, Stage.QUANTIZE, Stage.PARITY}


def test_a_crash_on_a_calibration_sample_costs_only_what_is_calibrated(job, settings, place):
    code = network(
        """
        if not torch.compiler.is_exporting():
            self.first = getattr(self, "first", x.sum())
            if x.sum() != self.first: ctypes.string_at(0)
        return x * 2
        """
    )
    noise = Calibration(kind=CalibrationKind.NOISE)
    asked = replace(job(code, precisions=(Precision.FP32, Precision.INT8)), calibration=noise)

    with run(asked, settings, place) as outcome:
        assert [artifact.precision for artifact in outcome.artifacts] == [Precision.FP32]

    (refused,) = outcome.refused
    assert (refused.precision, refused.failure_class) == (Precision.INT8, FailureClass.MODEL)
    assert "on a calibration sample (SIGSEGV), at tiny.py:11: if x.sum() != self.first" in refused.reason


def test_the_last_precision_may_be_the_one_that_dies(job, settings, place, monkeypatch):
    monkeypatch.setattr(making, "QUANTIZERS", making.QUANTIZERS | {Precision.FP16: killed(signal.SIGSEGV)})

    with run(job(CLASSIFIER, precisions=SOME), settings, place) as outcome:
        assert [artifact.precision for artifact in outcome.artifacts] == [Precision.FP32, Precision.DYNAMIC]
    assert outcome.refused[0].reason == "the quantizer crashes (SIGSEGV)"


@pytest.fixture
def expires_after(monkeypatch) -> Callable[[float], Callable[[Stage], bool]]:
    """The quantizer of `dynamic` hangs; makes a `tick` for which so many seconds pass as soon as it does."""
    hanging, clock = SharedCounter(), JumpingClock()

    def hangs(fp32, target, data):
        hanging.add()
        while True:
            time.sleep(60)

    monkeypatch.setattr(supervision, "time", clock)
    monkeypatch.setattr(making, "QUANTIZERS", making.QUANTIZERS | {Precision.DYNAMIC: hangs})

    def tick_that_jumps(seconds: float) -> Callable[[Stage], bool]:
        def tick(stage: Stage) -> bool:
            if hanging.count == 1:
                hanging.add()
                clock.jump(seconds)
            return True

        return tick

    return tick_that_jumps


def test_a_quantizer_that_hangs_costs_its_precision_only(job, settings, place, lowered, expires_after):
    tick = expires_after(settings.timeout_s)

    with run(job(CLASSIFIER, precisions=SOME), settings, place, tick) as outcome:
        assert [artifact.precision for artifact in outcome.artifacts] == [Precision.FP32, Precision.FP16]
    assert lowered.count == 1
    assert outcome.refused[0].failure_class is FailureClass.CONVERTER
    assert "NNLITE_CONVERSION__TIMEOUT_S" in outcome.refused[0].reason


def test_what_is_done_is_kept_when_the_whole_time_is_over(job, settings, place, expires_after):
    limits = settings.model_copy(update={"timeout_s": HANG_S, "absolute_timeout_s": HANG_S})
    tick = expires_after(HANG_S)

    with run(job(CLASSIFIER, precisions=SOME), limits, place, tick) as outcome:
        assert [artifact.precision for artifact in outcome.artifacts] == [Precision.FP32]
    assert [refused.precision for refused in outcome.refused] == [Precision.DYNAMIC, Precision.FP16]


def test_a_file_on_which_litert_crashes_is_refused_by_the_runtime(job, settings, place, monkeypatch, lowered):
    """As it does for some files with infinite constants; here for the fp32 file alone."""
    open_file = parity.HostArtifact.__init__

    def crashes(host, path, threads, **options):
        if path.name.startswith(Precision.FP32):
            os.abort()
        open_file(host, path, threads, **options)

    monkeypatch.setattr(parity.HostArtifact, "__init__", crashes)
    with run(job(CLASSIFIER, precisions=SOME), settings, place) as outcome:
        assert [artifact.precision for artifact in outcome.artifacts] == [Precision.DYNAMIC, Precision.FP16]
    (refused,) = outcome.refused
    assert (refused.precision, refused.stage) == (Precision.FP32, Stage.PARITY)
    assert refused.failure_class is FailureClass.RUNTIME
    assert refused.reason == "LiteRT on the host crashes on the artifact (SIGABRT)"
    assert lowered.count == 1

    with (
        pytest.raises(Failure, match="LiteRT on the host crashes on the artifact") as failure,
        run(job(CLASSIFIER), settings, place),
    ):
        pass
    assert failure.value.failure_class is FailureClass.RUNTIME, "nothing could be made"


def test_int8_is_made_after_a_crash_from_the_same_samples(job, settings, place, monkeypatch):
    wanted = replace(
        job(CLASSIFIER, precisions=(Precision.FP16, Precision.INT8)),
        calibration=Calibration(kind=CalibrationKind.SKLEARN, samples=4),
    )
    with run(wanted, settings, place) as outcome:
        untroubled = {artifact.precision: artifact.sha256 for artifact in outcome.artifacts}

    monkeypatch.setattr(making, "QUANTIZERS", making.QUANTIZERS | {Precision.FP16: killed(signal.SIGSEGV)})
    with run(wanted, settings, place) as outcome:
        (artifact,) = outcome.artifacts
    assert artifact.sha256 == untroubled[Precision.INT8]
