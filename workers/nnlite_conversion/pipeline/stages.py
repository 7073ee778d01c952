"""The stages of a conversion: load, calibrate, export, lower, quantize, check parity.

Each stage turns its errors into a `Failure` whose reason names the cause and the remedy. Runs in the forked
child only, in its private folder.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from nnlite.artifacts.inputs import raw_bytes
from nnlite.catalog.model import SEEDED_WEIGHTS
from nnlite.errors import Failure, FailureClass, NnliteError
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import Precision, Stage
from nnlite_conversion import explanations
from nnlite_conversion.explanations import explained
from nnlite_conversion.messages import Report, artifact_name, output_name
from nnlite_conversion.outcome import ArtifactReport, ConversionJob, RefusedPrecision, TensorSpec
from nnlite_conversion.pipeline import accelerator
from nnlite_conversion.pipeline.loading.load import Loaded, ModelSkipped, load
from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.lowering.rewrites import apply_rewrites
from nnlite_conversion.pipeline.quantizing import calibration
from nnlite_conversion.pipeline.quantizing.data import Data, NoCalibrationData, Sample
from nnlite_conversion.pipeline.quantizing.quantization import QUANTIZERS
from nnlite_conversion.pipeline.verifying import flatbuffer, parity
from nnlite_conversion.pipeline.verifying.drawn_inputs import drawn_inputs

#: Reports to the worker that a stage begins.
Enter = Callable[[Stage], None]

#: Limits of the network's reference outputs for the samples, in seconds and bytes. Samples beyond them have
#: none, and parity is judged on the others.
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


def convert_model(job: ConversionJob, settings: ConversionSettings, enter: Enter) -> Report:
    """Write every artifact of `job` into the current folder and return the report.

    Raises:
        Failure: class `model`; the reason names what cannot be done.
        MemoryError, OSError: the machine's fault, not the model's.
    """
    torch.set_num_threads(settings.threads)
    accelerator.use(job.gpu)
    enter(Stage.LOAD)
    try:
        loaded, parameters = load(job, Path.cwd())
    except ModelSkipped as skipped:
        return Report(skipped=skipped.reason, parameters=skipped.parameters, input_shape=skipped.input_shape)
    fp32, rewrites = fp32_file(job, loaded, enter)
    if job.calibration is not None:
        enter(Stage.CALIBRATE)
    samples = with_drawn(calibration_samples(job, loaded), loaded, job.seed)
    data = data_of(job, samples, settings)
    trained = job.model.weights != SEEDED_WEIGHTS
    artifacts, refused = [], []
    for precision in job.precisions:
        path, calibrated_on = Path(artifact_name(precision)), 0
        try:
            if precision is not Precision.FP32:
                enter(Stage.QUANTIZE)
                calibrated_on = quantize(precision, fp32, path, data)
            enter(Stage.PARITY)
            report = check(precision, path, loaded, samples, trained=trained, threads=settings.threads)
        except Failure as failure:
            # Other precisions are unaffected, but all of them are made from the fp32 file.
            if precision is Precision.FP32:
                raise
            refused.append(
                RefusedPrecision(
                    precision=precision, stage=failure.stage, reason=failure.reason, details=failure.details
                )
            )
            continue
        artifacts.append(replace(report, rewrites=rewrites, calibrated_on=calibrated_on))
    return Report(
        artifacts=tuple(artifacts),
        refused=tuple(refused),
        parameters=parameters,
        input_shape=loaded.input_shape,
        state_dict_sha256=loaded.state_dict_sha256,
        accelerated=accelerator.accelerated(),
    )


def fp32_file(job: ConversionJob, loaded: Loaded, enter: Enter) -> tuple[Path, tuple[str, ...]]:
    """Return the fp32 file that every precision is made from, and the names of its rewrites."""
    if job.fp32 is not None:
        return job.fp32.path, job.fp32.rewrites
    enter(Stage.EXPORT)
    program, rewrites = export(loaded)
    if lowering.has_integers(program):
        _ = loaded.integer_ranges  # refuses 64 bits, which lowering would fail on or compute wrongly
    enter(Stage.LOWER)
    path = Path(artifact_name(Precision.FP32))
    lower(program, loaded, path)
    return path, rewrites


def calibration_samples(job: ConversionJob, loaded: Loaded) -> Samples:
    """Return the job's calibration samples and PyTorch's outputs; missing samples are not a failure here."""
    if job.calibration is None:
        return Samples(why_none="no calibration data: the campaign names none")
    try:
        inputs = calibration.load(job.calibration, job.calibration_file, job.model, loaded.samples)
        return Samples(inputs=inputs, expected=_reference_outputs(loaded, inputs))
    except Failure as failure:
        return Samples(why_none=failure.reason)
    except NnliteError as error:
        return Samples(why_none=str(error))
    except (Exception, SystemExit) as error:
        if isinstance(error, MemoryError) or explanations.is_full_disk(error):
            raise
        reason = f"transform {job.model.transform} fails on a picture: {explanations.summary(error)}"
        return Samples(why_none=f"no calibration data: {reason}")


def with_drawn(samples: Samples, loaded: Loaded, seed: int) -> Samples:
    """Return the samples with drawn inputs; without where the network does not accept them."""
    ranges = loaded.integer_ranges
    inputs = drawn_inputs(loaded.samples, ranges.of_inputs, seed)
    try:
        outputs = _reference_outputs(loaded, inputs)
    except Failure:
        return samples
    return replace(samples, drawn=list(zip(inputs, outputs, strict=False)), beyond=ranges.beyond)


def data_of(job: ConversionJob, samples: Samples, settings: ConversionSettings) -> Data:
    """Return what quantizers take."""
    return Data(
        samples=samples.inputs, why_none=samples.why_none, int8_io=job.int8_io, threads=settings.threads
    )


def _reference_outputs(loaded: Loaded, inputs: Sequence[Sample]) -> list[tuple[NDArray[Any], ...]]:
    """Return the network's outputs for the inputs, as many as the limits allow."""
    size = sum(tensor.nbytes for tensor in loaded.expected)

    def run_all(placed: torch.nn.Module, device: torch.device) -> list[tuple[NDArray[Any], ...]]:
        results: list[tuple[NDArray[Any], ...]] = []
        started_s = time.monotonic()
        for sample in inputs:
            outputs = lowering.tensors_of(placed(*(torch.from_numpy(value).to(device) for value in sample)))
            results.append(tuple(output.cpu().numpy().copy() for output in outputs))
            if time.monotonic() - started_s > MAX_REFERENCE_S or len(results) * size > MAX_REFERENCE_BYTES:
                break
        return results

    try:
        with torch.no_grad():
            return accelerator.run(loaded.module, run_all)
    except (Exception, SystemExit) as error:
        raise explained(Stage.CALIBRATE, error, "forward fails on a calibration sample") from error


def export(loaded: Loaded) -> tuple[torch.export.ExportedProgram, tuple[str, ...]]:
    """Trace the network and apply the rewrites; return the program and the names of those that changed it."""
    try:
        with torch.no_grad():
            program = lowering.export(loaded.module, loaded.tensors)
            return program, apply_rewrites(program)
    except (Exception, SystemExit) as error:
        raise explained(Stage.EXPORT, error, explanations.of_export(error)) from error


def lower(program: torch.export.ExportedProgram, loaded: Loaded, path: Path) -> None:
    """Write the fp32 artifact."""
    try:
        with torch.no_grad():
            lowering.lower(program, loaded.module, loaded.tensors, path)
    except (Exception, SystemExit) as error:
        raise explained(Stage.LOWER, error, explanations.of_lowering(error)) from error


def quantize(precision: Precision, fp32: Path, path: Path, data: Data) -> int:
    """Write the artifact of `precision` from the fp32 file; return the number of calibration samples used."""
    try:
        return QUANTIZERS[precision](fp32, path, data)
    except NoCalibrationData as error:
        raise Failure(FailureClass.MODEL, Stage.QUANTIZE, str(error)) from error
    except (Exception, SystemExit) as error:
        raise explained(Stage.QUANTIZE, error, "the quantizer fails") from error


def check(
    precision: Precision, path: Path, loaded: Loaded, samples: Samples, *, trained: bool, threads: int
) -> ArtifactReport:
    """Run the artifact, compare it with PyTorch, and write its outputs for the devices."""
    try:
        host = parity.HostArtifact(path, threads)
        tensors = host.run(loaded.samples)
        verdict = parity.judge(
            precision,
            (loaded.expected, host.reals(tensors)),
            _pairs(host, zip(samples.inputs, samples.expected, strict=False)),
            drawn=_pairs(host, samples.drawn),
            steps=[_step(spec) for spec in host.outputs],
            trained=trained,
            beyond=samples.beyond,
        )
    except (RuntimeError, ValueError) as error:
        raise explained(Stage.PARITY, error, "LiteRT refuses the artifact") from error
    for index, tensor in enumerate(tensors):
        Path(output_name(precision, index)).write_bytes(raw_bytes(tensor))
    return ArtifactReport(
        precision=precision,
        size_bytes=path.stat().st_size,
        inputs=host.inputs,
        outputs=host.outputs,
        parity=verdict,
        operators=flatbuffer.operators(path),
    )


def _pairs(
    host: parity.HostArtifact, references: Iterable[tuple[Sample, tuple[NDArray[Any], ...]]]
) -> Iterator[parity.OutputPair]:
    """Run the artifact on each input and yield PyTorch's outputs and its own."""
    for sample, wanted in references:
        yield wanted, host.reals(host.run(sample))


def _step(spec: TensorSpec) -> float | None:
    return spec.quantization.per_tensor[0] if spec.quantization else spec.step
