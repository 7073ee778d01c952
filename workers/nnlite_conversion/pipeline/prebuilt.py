"""Checks a pre-built `.tflite` file: reads it and runs it once on the host; nothing is converted.

Both happen in the forked child, because a hostile file can crash the reader and the runtime. There is no
network to compare it with, so its parity is unknown; devices are compared with the host's outputs.
"""

from pathlib import Path

from nnlite.artifacts.inputs import raw_bytes, seeded_inputs
from nnlite.errors import FailureClass
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import Stage
from nnlite_conversion.explanations import explained, of_runtime
from nnlite_conversion.messages import (
    Enter,
    PrecisionBegun,
    Report,
    artifact_name,
    model_file_name,
    output_name,
)
from nnlite_conversion.outcome import ArtifactReport, ConversionJob
from nnlite_conversion.pipeline.stages import Begin
from nnlite_conversion.pipeline.verifying import flatbuffer, parity


def check_prebuilt(job: ConversionJob, settings: ConversionSettings, enter: Enter, *, begin: Begin) -> Report:
    """Report on the pre-built file in the current folder, and write the host's outputs for the devices.

    Raises:
        Failure: class `model`: it is no `.tflite` file; `runtime`: the host's LiteRT refuses it.
        MemoryError, OSError: the machine's fault, not the file's.
    """
    file = Path(model_file_name(job.model))
    enter(Stage.LOAD)
    try:
        precision, operators = flatbuffer.precision(file), flatbuffer.operators(file)
    except Exception as error:  # a hostile file makes the flatbuffer's accessors raise anything
        raise explained(Stage.LOAD, error, "it cannot be read as a .tflite file") from error
    enter(Stage.PARITY)
    begin(PrecisionBegun(precision=precision, done=Report(input_shape=())))
    try:
        host = parity.HostArtifact(file, settings.threads)
        # A quantized input gets the quantized values of the floats that a float input would get.
        wanted = [(spec.shape, "float32" if spec.quantization else spec.dtype) for spec in host.inputs]
        outputs = host.run(seeded_inputs(wanted, job.seed))
    except (RuntimeError, ValueError) as error:
        raise explained(Stage.PARITY, error, of_runtime(error), FailureClass.RUNTIME) from error
    for index, tensor in enumerate(outputs):
        Path(output_name(precision, index)).write_bytes(raw_bytes(tensor))
    artifact = file.rename(artifact_name(precision))
    report = ArtifactReport(
        precision=precision,
        size_bytes=artifact.stat().st_size,
        inputs=host.inputs,
        outputs=host.outputs,
        parity=None,
        operators=operators,
    )
    return Report(artifacts=(report,), input_shape=host.inputs[0].shape if host.inputs else ())
