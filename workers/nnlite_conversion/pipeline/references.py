"""PyTorch's side of parity: calibration samples and drawn inputs, with the network's outputs for them.

Runs in the forked child only.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray

from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.errors import Failure, NnliteError
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import Stage
from nnlite_conversion import explanations
from nnlite_conversion.explanations import explained
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.pipeline import accelerator
from nnlite_conversion.pipeline.loading.load import Loaded, restore
from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.quantizing import calibration
from nnlite_conversion.pipeline.quantizing.data import Data, Sample
from nnlite_conversion.pipeline.verifying.drawn_inputs import drawn_inputs
from nnlite_conversion.pipeline.verifying.integers import IntegerRanges

#: Limits of the network's reference outputs for the samples: CPU seconds of the calling thread, so that a
#: busy machine judges by as many samples, and bytes. Parity is judged on the samples within them.
MAX_REFERENCE_S = 3.0
MAX_REFERENCE_BYTES = 256 << 20


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Inputs that parity is judged on besides the seeded one, and PyTorch's outputs for them."""

    #: Calibration samples.
    inputs: Sequence[Sample] = ()
    #: Outputs for the first of them, as many as the limits allow.
    expected: Sequence[tuple[NDArray[Any], ...]] = ()
    #: Drawn inputs with their outputs.
    drawn: Sequence[tuple[Sample, tuple[NDArray[Any], ...]]] = ()
    #: What is not known about integers beyond the drawn ones; None: nothing.
    beyond: str | None = None
    #: Why there are no samples; None: there are.
    why_none: str | None = None


def samples_of(job: ConversionJob, loaded: Loaded) -> Samples:
    """Return the job's samples and drawn inputs, with PyTorch's outputs; none where the network crashed."""
    samples = calibration_samples(job, loaded)
    return samples if job.no_samples is not None else with_drawn(samples, loaded, job.seed)


def calibration_samples(job: ConversionJob, loaded: Loaded) -> Samples:
    """Return the job's calibration samples and PyTorch's outputs; missing samples are not a failure here."""
    if job.no_samples is not None:
        return Samples(why_none=job.no_samples)
    if job.calibration is None:
        return Samples(why_none="no calibration data: the campaign names none")
    try:
        return _calibrated(job, job.calibration, loaded, _noise_ranges(job.calibration, loaded))
    except Failure as failure:
        return Samples(why_none=failure.reason)
    except NnliteError as error:
        return Samples(why_none=str(error))
    except (Exception, SystemExit) as error:
        if isinstance(error, MemoryError) or explanations.is_full_disk(error):
            raise
        reason = f"transform {job.model.transform} fails on a picture: {explanations.summary(error)}"
        return Samples(why_none=f"no calibration data: {reason}")


def _noise_ranges(chosen: Calibration, loaded: Loaded) -> calibration.Ranges | None:
    """Return the ranges that noise draws integers from; None: there are no integers."""
    integers = any(sample.dtype.kind == "i" for sample in loaded.samples)
    return loaded.integer_ranges.of_inputs if integers and chosen.kind is CalibrationKind.NOISE else None


def _calibrated(
    job: ConversionJob, chosen: Calibration, loaded: Loaded, ranges: calibration.Ranges | None
) -> Samples:
    inputs = calibration.load(chosen, job.calibration_file, job.model, loaded.samples, ranges)
    try:
        return Samples(inputs=inputs, expected=reference_outputs(loaded, inputs))
    except Failure:
        # Several integers may not be accepted together; then they are drawn as seeded ones are, 0 or 1.
        if ranges is None:
            raise
        return _calibrated(job, chosen, loaded, None)


def with_drawn(samples: Samples, loaded: Loaded, seed: int) -> Samples:
    """Return the samples with drawn inputs; without where the network does not accept them."""
    integers = any(sample.dtype.kind == "i" for sample in loaded.samples)
    ranges = loaded.integer_ranges if integers else IntegerRanges(of_inputs=(None,) * len(loaded.samples))
    # Several integers may not be accepted together; then they are drawn as seeded ones are, 0 or 1.
    for ends in (ranges.of_inputs, (None,) * len(loaded.samples)):
        inputs = drawn_inputs(loaded.samples, ends, seed)
        try:
            outputs = reference_outputs(loaded, inputs)
        except Failure:
            continue
        return replace(samples, drawn=list(zip(inputs, outputs, strict=False)), beyond=ranges.beyond)
    return samples


def data_of(job: ConversionJob, samples: Samples, settings: ConversionSettings) -> Data:
    """Return what quantizers take."""
    return Data(
        samples=samples.inputs, why_none=samples.why_none, int8_io=job.int8_io, threads=settings.threads
    )


def reference_outputs(loaded: Loaded, inputs: Sequence[Sample]) -> list[tuple[NDArray[Any], ...]]:
    """Return the network's outputs for the inputs, as many as the limits allow."""
    size = sum(tensor.nbytes for tensor in loaded.expected)

    def run_all(placed: torch.nn.Module, device: torch.device) -> list[tuple[NDArray[Any], ...]]:
        results: list[tuple[NDArray[Any], ...]] = []
        started_s = time.thread_time()
        for sample in inputs:
            outputs = lowering.tensors_of(placed(*(torch.from_numpy(value).to(device) for value in sample)))
            results.append(tuple(output.detach().cpu().numpy().copy() for output in outputs))
            restore(placed, loaded.changing)
            if time.thread_time() - started_s > MAX_REFERENCE_S or len(results) * size > MAX_REFERENCE_BYTES:
                break
        return results

    try:
        with torch.no_grad():
            return accelerator.run(loaded.module, run_all)
    except (Exception, SystemExit) as error:
        raise explained(Stage.CALIBRATE, error, "forward fails on a calibration sample") from error
