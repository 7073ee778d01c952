"""Accuracy of an artifact on a device: the samples that its conversion kept, run in chunks and ranked."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Engine

from nnlite.artifacts.device_samples import DeviceSamples, read_device_samples
from nnlite.artifacts.ranks import Ranks, UnfitSamples
from nnlite.artifacts.samples import SamplesError
from nnlite.artifacts.store import ArtifactGoneError, ArtifactStore
from nnlite.db.rows import row_id
from nnlite.reports.schema import DeviceAccuracy, MeasurementReport
from nnlite.results.evaluations import device_evaluation
from nnlite.settings import Settings
from nnlite.vocabulary import EvaluateOn, Stage
from nnlite_benchmark.device import BenchmarkJob, Device, DeviceFailure, RuntimeRefusal
from nnlite_benchmark.protocol.deadlines import stage_limit_s

#: Of the inputs of one run, bytes: they are pushed, and read into memory there.
_CHUNK_BYTES: Final = 32 << 20
#: The first run has so many samples; it shows how long one takes.
_FIRST_SAMPLES: Final = 8
#: Of one run after it, seconds; at most half of the limit of a run.
_CHUNK_S: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class DeviceEvaluator:
    """Measures the accuracy of one claimed artifact on a device, once for each backend."""

    #: Of the benchmark's claim.
    payload: Mapping[str, Any]
    #: The artifact is loaded there.
    device: Device
    #: Has the samples.
    store: ArtifactStore
    #: Knows what was evaluated before.
    engine: Engine
    settings: Settings

    @property
    def wanted(self) -> bool:
        """Whether the campaign asks for accuracy on devices, and the host has evaluated the artifact."""
        return self.payload["evaluate_on"] == EvaluateOn.DEVICE and self.payload["evaluation"] is not None

    def __call__(self, job: BenchmarkJob, report: MeasurementReport, stop: threading.Event) -> DeviceAccuracy:
        """Return the accuracy on the backend of `report`, or why there is none.

        Raises:
            StoreError: the store is unavailable.
            Stopped: `stop` was set.
        """
        evaluation = self.payload["evaluation"]
        key = {
            "artifact_id": evaluation["artifact_id"],
            "data": evaluation["data"],
            "device_id": row_id("device", self.device.name),
            "backend": report.backend.value,
        }
        known = device_evaluation(self.engine, key, report.executed_by)
        if known is not None:
            return DeviceAccuracy(
                samples=known.samples, top1=known.top1, top5=known.top5, no_worse=known.no_worse
            )
        if evaluation["inputs"] is None:
            return DeviceAccuracy(reason=f"the host has none: {evaluation['reason']}")
        try:
            samples = read_device_samples(self.store.fetch(evaluation["inputs"]))

            def classify(begin: int, end: int) -> Any:
                chunk = tuple(values[begin:end] for values in samples.inputs)
                return self.device.classify(replace(job, samples=chunk), report.backend, stop=stop)

            limit_s = stage_limit_s(job.in_force(self.settings.measurement), Stage.RUN, 0.0)
            chunk_s = min(_CHUNK_S, limit_s / 2)
            return accuracy(samples, classify, max_s=self.settings.evaluation_device_max_s, chunk_s=chunk_s)
        except (RuntimeRefusal, DeviceFailure) as failure:
            # The artifact was measured; the device proves at its next canary whether it is well.
            return DeviceAccuracy(reason=failure.reason)
        except (SamplesError, ArtifactGoneError, UnfitSamples, ValueError) as error:
            return DeviceAccuracy(reason=str(error))


def accuracy(
    samples: DeviceSamples,
    classify: Callable[[int, int], Any],
    *,
    max_s: float,
    chunk_s: float = _CHUNK_S,
    clock: Callable[[], float] = time.monotonic,
) -> DeviceAccuracy:
    """Return the accuracy of what `classify` returns for the samples from one number to another.

    Integer outputs rank as the numbers that they stand for.

    Args:
        samples: in the order in which they are run.
        classify: runs them; returns their outputs.
        max_s: samples that do not begin within it are not run.
        chunk_s: of one call but the first, about.
        clock: in seconds.
    """
    ranks, begin, total = Ranks(), 0, len(samples.labels)
    of_sample = sum(values.nbytes for values in samples.inputs) / total
    most = max(1, int(_CHUNK_BYTES / max(of_sample, 1)))
    size, begun_s = min(_FIRST_SAMPLES, most), clock()
    while begin < total:
        end, before_s = min(begin + size, total), clock()
        for output, label in zip(classify(begin, end), samples.labels[begin:end], strict=True):
            ranks.add(output, label)
        sample_s = (clock() - before_s) / (end - begin)
        begin = end
        left_s = begun_s + max_s - clock()
        size = min(most, int(min(left_s, chunk_s) / max(sample_s, 1e-6)))
        if size < 1:
            break
    right = None if samples.right is None else samples.right[:begin]
    return DeviceAccuracy(samples=begin, top1=ranks.top1, top5=ranks.top5, no_worse=ranks.no_worse(right))
