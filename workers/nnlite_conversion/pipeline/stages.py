"""The stages of a conversion: load, calibrate, export, lower, quantize, check parity.

Each stage turns its errors into a `Failure` whose reason names the cause and the remedy. Runs in the forked
child only, in its private folder.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

from nnlite.backends import RUNTIME_OF_FORMAT
from nnlite.errors import Failure, FailureClass
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import ArtifactFormat, ParityState, Precision, Stage
from nnlite_conversion import explanations
from nnlite_conversion.cache_key import missing_exporters
from nnlite_conversion.explanations import explained
from nnlite_conversion.export_errors import of_export
from nnlite_conversion.messages import Enter, PrecisionBegun, Report, artifact_name
from nnlite_conversion.outcome import (
    ArtifactReport,
    ConversionJob,
    KnownArtifact,
    Parity,
    RefusedPrecision,
)
from nnlite_conversion.pipeline import accelerator
from nnlite_conversion.pipeline.causes import (
    rounded_by_pytorch,
    with_changed_buffers,
    with_changes_of_pytorch,
    with_precision_of_pytorch,
)
from nnlite_conversion.pipeline.checking import Reference, check, judged
from nnlite_conversion.pipeline.formats import FORMATS
from nnlite_conversion.pipeline.loading import absent_modules
from nnlite_conversion.pipeline.loading.load import Loaded, ModelSkipped, load
from nnlite_conversion.pipeline.loading.redrawing import constant_outputs, redrawn
from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.lowering.branches import export_with_branches
from nnlite_conversion.pipeline.lowering.rewrites import apply_rewrites
from nnlite_conversion.pipeline.lowering.rewrites.packages import of_packages
from nnlite_conversion.pipeline.making import made, quantize, ways, with_parity
from nnlite_conversion.pipeline.quantizing.data import Data
from nnlite_conversion.pipeline.quantizing.freed_memory import keep_freed_memory
from nnlite_conversion.pipeline.references import (
    Samples,
    data_of,
    reference_outputs,
    samples_of,
)
from nnlite_conversion.pipeline.verifying import flatbuffer, parity
from nnlite_conversion.pipeline.verifying.judging import derived

#: Reports to the worker that a precision begins.
Begin = Callable[[PrecisionBegun], None]

#: Most names of redrawn parameters that are stored.
MAX_NAMES = 20


@dataclass(frozen=True, kw_only=True)
class StandIn(Reference):
    """The network with redrawn parameters, and its fp32 artifact."""

    fp32: Path
    #: Of the redrawn parameters.
    names: tuple[str, ...]


def convert_model(job: ConversionJob, settings: ConversionSettings, enter: Enter, *, begin: Begin) -> Report:
    """Write every artifact of `job` into the current folder and return the report.

    A precision that cannot be made or run is refused, fp32 as well; the others are made from the fp32 file.

    Raises:
        Failure: class `model`; the reason names what cannot be done.
        MemoryError, OSError: the machine's fault, not the model's.
    """
    enter(Stage.LOAD)
    try:
        loaded, parameters = load(job, Path.cwd())
    except ModelSkipped as skipped:
        return Report(skipped=skipped.reason, parameters=skipped.parameters, input_shape=skipped.input_shape)
    fp32 = fp32_file(job, loaded, enter) if job.precisions else KnownArtifact(path=Path(), rewrites=())
    _ = loaded.state_dict_sha256  # where nothing was lowered; below the network runs
    if job.calibration is not None:
        enter(Stage.CALIBRATE)
    samples = samples_of(job, loaded)
    data = data_of(job, samples, settings)
    enter(Stage.PARITY)
    reference = Reference(loaded=loaded, samples=samples)
    stand_in = None if job.model.trained else stand_in_for(loaded, samples)
    if not job.formats:
        loaded.release()  # the runtime packs the artifact's weights into as much memory
    artifacts: list[ArtifactReport] = []
    refused: list[RefusedPrecision] = []

    def report() -> Report:
        return Report(
            artifacts=tuple(artifacts),
            refused=tuple(refused),
            parameters=parameters,
            input_shape=loaded.input_shape,
            state_dict_sha256=loaded.state_dict_sha256,
            accelerated=accelerator.accelerated(),
            absent_modules=absent_modules.imported(),
        )

    if set(job.precisions) - {Precision.FP32}:
        keep_freed_memory()
    for precision in job.precisions:
        begin(
            PrecisionBegun(
                precision=precision,
                done=report(),
                rewrites=fp32.rewrites,
                graph_operators=fp32.graph_operators,
            )
        )
        try:
            artifact = made(precision, fp32.path, data, reference, enter, trained=job.model.trained)
            if stand_in is not None:
                artifact = replace(artifact, parity=_parity_by(stand_in, artifact, data))
        except Failure as failure:
            refused.append(refused_precision(precision, failure))
            continue
        artifact = replace(artifact, rewrites=fp32.rewrites, graph_operators=fp32.graph_operators)
        # A network of halves is rounded more than its fp32 artifact, which is off then, and not wrong.
        if precision is not Precision.FP32 and artifact.parity and not rounded_by_pytorch(artifact):
            fp32 = with_parity(fp32, reference, data)
            artifact = replace(artifact, parity=derived(precision, artifact.parity, fp32.parity))
        artifact = with_changed_buffers(with_precision_of_pytorch(artifact), loaded.changing)
        if precision is Precision.FP32:
            fp32 = replace(fp32, parity=artifact.parity)
        artifacts.append(artifact)
    for artifact_format in job.formats:
        begin(PrecisionBegun(precision=Precision.FP32, format=artifact_format, done=report()))
        try:
            path = exported_file(artifact_format, loaded, enter)
            enter(Stage.PARITY)
            artifacts.append(
                check(Precision.FP32, path, reference, trained=job.model.trained, threads=settings.threads)
            )
        except Failure as failure:
            refused.append(refused_precision(Precision.FP32, failure, artifact_format))
    if fp32.parity is None or fp32.parity.state is ParityState.OFF:
        artifacts = with_changes_of_pytorch(artifacts, job)
    return report()


def exported_file(artifact_format: ArtifactFormat, loaded: Loaded, enter: Enter) -> Path:
    """Return the network as a file of a format, not `.tflite`, from a graph without rewrites."""
    enter(Stage.EXPORT)
    if missing := missing_exporters(artifact_format):
        extra = RUNTIME_OF_FORMAT[artifact_format].extra
        absent = f"{', '.join(missing)} not installed with the conversion worker; install the extra {extra}"
        raise Failure(FailureClass.MODEL, Stage.EXPORT, absent)
    path = Path(artifact_name(Precision.FP32, artifact_format))
    with _as_failures(loaded):
        program, _ = export_with_branches(loaded.module, loaded.tensors, loaded.changing)
    FORMATS[artifact_format].export(program, loaded, path)
    return path


def refused_precision(
    precision: Precision, failure: Failure, artifact_format: ArtifactFormat = ArtifactFormat.TFLITE
) -> RefusedPrecision:
    """Return the record of a precision or format that failed."""
    by_runtime = failure.failure_class is FailureClass.RUNTIME
    return RefusedPrecision(
        precision=precision,
        format=artifact_format,
        stage=failure.stage,
        reason=failure.reason,
        failure_class=FailureClass.RUNTIME if by_runtime else FailureClass.MODEL,
        details=failure.details,
    )


def fp32_file(job: ConversionJob, loaded: Loaded, enter: Enter) -> KnownArtifact:
    """Return the fp32 file that every precision is made from."""
    if job.fp32 is not None:
        return job.fp32
    enter(Stage.EXPORT)
    program, rewrites, operators = export(loaded)
    if lowering.has_integers(program) and lowering.has_fixed_sizes(program):
        _ = loaded.integer_ranges  # refuses 64 bits, which lowering would fail on or compute wrongly
    enter(Stage.LOWER)
    path = Path(artifact_name(Precision.FP32))
    with loaded.hashed_meanwhile():
        rewrites += lower(program, loaded, path)
    return KnownArtifact(path=path, rewrites=rewrites, graph_operators=operators)


def stand_in_for(loaded: Loaded, samples: Samples) -> StandIn | None:
    """Return a network that shows what `loaded` computes, converted; None where that is not needed or fails.

    It is needed where zero-initialized parameters make an output constant.
    """
    inputs = [sample for sample, _ in samples.drawn]
    outputs = [loaded.expected, *(outputs for _, outputs in samples.drawn), *samples.expected]
    if not inputs or not constant_outputs(outputs):
        return None
    found = redrawn(loaded, inputs)
    if found is None:
        return None
    network, names = found
    path = Path("redrawn.tflite")
    try:
        program = export(network).program
        lower(program, network, path)
        expected = reference_outputs(network, samples.inputs)
        drawn = list(zip(inputs, reference_outputs(network, inputs), strict=False))
    except Failure:
        return None
    samples = replace(samples, expected=expected, drawn=drawn)
    return StandIn(loaded=network, samples=samples, fp32=path, names=tuple(names[:MAX_NAMES]))


def _parity_by(stand_in: StandIn, report: ArtifactReport, data: Data) -> Parity | None:
    """Return the stand-in's parity where that of `report` is unknown and both have the same operators."""
    if report.parity is None or report.parity.state is not ParityState.UNKNOWN:
        return report.parity
    try:
        path = _stand_in_file(stand_in, report, data)
        if path is None:
            reason = f"with {stand_in.names[0]} redrawn, the artifact has other operators"
            return replace(report.parity, reason=f"{report.parity.reason}; {reason}")
        host = parity.HostArtifact(path, data.threads)
        of_stand_in = judged(report.precision, host, host.run(stand_in.loaded.samples), stand_in)
    except (Failure, RuntimeError, ValueError):
        return report.parity
    return replace(of_stand_in, redrawn=stand_in.names)


def _stand_in_file(stand_in: StandIn, report: ArtifactReport, data: Data) -> Path | None:
    """Return the stand-in's artifact, made as that of `report` was; None: it has other operators."""
    if report.precision is Precision.FP32:
        return stand_in.fp32 if flatbuffer.operators(stand_in.fp32) == report.operators else None
    path = Path(f"redrawn.{report.precision}.tflite")
    for way in ways(report.precision):
        quantize(way, stand_in.fp32, path, data)
        if flatbuffer.operators(path) == report.operators:
            return path
    return None


class Exported(NamedTuple):
    """A network's graph, before it is decomposed."""

    program: torch.export.ExportedProgram
    #: Names of the rewrites that changed it.
    rewrites: tuple[str, ...]
    #: How often the network uses each operator, such as `aten.conv2d`; before the rewrites.
    operators: Mapping[str, int]


def export(loaded: Loaded, change: Callable[[torch.fx.Graph], object] = lambda _: None) -> Exported:
    """Trace the network, have `change` change the graph, and rewrite it."""
    of_packages()  # fails with a reason of its own
    with _as_failures(loaded):
        program, changed = export_with_branches(loaded.module, loaded.tensors, loaded.changing)
        change(program.graph)
        operators = lowering.operators(program)
        rewrites = changed + apply_rewrites(program)
    return Exported(program, rewrites, operators)


@contextmanager
def _as_failures(loaded: Loaded) -> Iterator[None]:
    """Export without gradients; raise what fails as the `Failure` that it is."""
    try:
        with torch.no_grad():
            yield
    except (Exception, SystemExit) as error:
        network = loaded.module
        reason = of_export(error, lowering.scripted(network), lowering.quantized(network))
        raise explained(Stage.EXPORT, error, reason) from error


def lower(program: torch.export.ExportedProgram, loaded: Loaded, path: Path) -> tuple[str, ...]:
    """Write the fp32 artifact; return the names of the operators' rewrites that applied."""
    try:
        with torch.no_grad():
            return lowering.lower(program, loaded.module, loaded.tensors, path)
    except (Exception, SystemExit) as error:
        raise explained(Stage.LOWER, error, explanations.of_lowering(error)) from error
