"""What the conversion child does, stage by stage, with a network that `loading` made.

Each stage turns what goes wrong in it into a `Failure` that names the thing and
the way out. Runs in the forked child only, in its scratch folder.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from nnlite.inputs import raw_bytes
from nnlite.settings import ConversionSettings
from nnlite.vocabulary import Precision, Stage
from nnlite_conversion import accelerator, explanations, flatbuffer, lowering, parity
from nnlite_conversion.explanations import explained
from nnlite_conversion.loading import LeftOut, Loaded, load
from nnlite_conversion.messages import ArtifactReport, Report, artifact_name, output_name
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.quantization import QUANTIZERS
from nnlite_conversion.rewrites import apply_rewrites

#: Tells the worker which stage begins.
Enter = Callable[[Stage], None]


def convert_model(job: ConversionJob, settings: ConversionSettings, enter: Enter) -> Report:
    """Make every artifact of `job` in the current folder and report on them.

    Raises:
        Failure: class `model`; the reason names what cannot be done.
        MemoryError, OSError: the machine's fault, not the model's.
    """
    torch.set_num_threads(settings.threads)
    enter(Stage.LOAD)
    try:
        loaded, parameters = load(job, Path.cwd())
    except LeftOut as left_out:
        return Report(
            left_out=left_out.reason, parameters=left_out.parameters, input_shape=left_out.input_shape
        )
    enter(Stage.EXPORT)
    program, rewrites = export(loaded)
    enter(Stage.LOWER)
    fp32 = Path(artifact_name(Precision.FP32))
    lower(program, loaded, fp32)
    reports = []
    for precision in job.precisions:
        path = Path(artifact_name(precision))
        if precision is not Precision.FP32:
            enter(Stage.QUANTIZE)
            QUANTIZERS[precision](fp32, path)
        enter(Stage.PARITY)
        reports.append(check(precision, path, loaded, rewrites, settings.threads))
    return Report(
        artifacts=tuple(reports),
        parameters=parameters,
        input_shape=loaded.input_shape,
        output_shapes=tuple(tuple(tensor.shape) for tensor in loaded.expected),
        state_dict_sha256=loaded.state_dict_sha256,
        accelerated=accelerator.accelerated(),
    )


def export(loaded: Loaded) -> tuple[torch.export.ExportedProgram, tuple[str, ...]]:
    """Trace the network and rewrite what would not lower; return the names of the rewrites used."""
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


def check(
    precision: Precision, path: Path, loaded: Loaded, rewrites: tuple[str, ...], threads: int
) -> ArtifactReport:
    """Run the artifact, compare it with PyTorch, keep its outputs for the devices."""
    try:
        host = parity.run_on_host(path, loaded.samples, threads)
    except (RuntimeError, ValueError) as error:
        raise explained(Stage.PARITY, error, "LiteRT refuses the artifact") from error
    for index, tensor in enumerate(host.tensors):
        Path(output_name(precision, index)).write_bytes(raw_bytes(tensor))
    return ArtifactReport(
        precision=precision,
        size_bytes=path.stat().st_size,
        inputs=host.inputs,
        outputs=host.outputs,
        parity=parity.judge(precision, loaded.expected, host.tensors),
        rewrites=rewrites,
        operators=flatbuffer.operators(path),
    )
