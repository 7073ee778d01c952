"""Checks an artifact on the host: runs it in its runtime and compares it with its network."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nnlite.artifacts.inputs import raw_bytes
from nnlite.errors import FailureClass
from nnlite.vocabulary import ArtifactFormat, Precision, Stage
from nnlite_conversion import explanations
from nnlite_conversion.explanations import explained
from nnlite_conversion.messages import output_name
from nnlite_conversion.outcome import ArtifactReport, Parity, TensorSpec
from nnlite_conversion.pipeline.formats import FORMATS, Artifact
from nnlite_conversion.pipeline.loading.load import Loaded
from nnlite_conversion.pipeline.quantizing.data import Sample
from nnlite_conversion.pipeline.references import Samples
from nnlite_conversion.pipeline.verifying import flatbuffer, parity


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Reference of a check: what an artifact is compared with."""

    loaded: Loaded
    samples: Samples


def check(
    precision: Precision, path: Path, reference: Reference, *, trained: bool, threads: int
) -> ArtifactReport:
    """Run the artifact, compare it with PyTorch, and write its outputs for the devices.

    Raises:
        Failure: class `runtime`: the host's runtime refuses it.
    """
    artifact_format = ArtifactFormat(path.suffix.removeprefix("."))
    further = FORMATS.get(artifact_format)
    try:
        host: Artifact = further.opened(path, threads) if further else parity.HostArtifact(path, threads)
        tensors = host.run(reference.loaded.samples)
        verdict = judged(precision, host, tensors, reference, trained=trained)
    except (RuntimeError, ValueError) as error:
        reason = explanations.of_runtime(error, artifact_format)
        raise explained(Stage.PARITY, error, reason, FailureClass.RUNTIME) from error
    for index, tensor in enumerate(tensors):
        Path(output_name(precision, index, artifact_format)).write_bytes(raw_bytes(tensor))
    return ArtifactReport(
        precision=precision,
        format=artifact_format,
        size_bytes=path.stat().st_size,
        inputs=host.inputs,
        outputs=host.outputs,
        parity=verdict,
        operators=further.operators(path) if further else flatbuffer.operators(path),
    )


def judged(
    precision: Precision,
    host: Artifact,
    tensors: Sequence[NDArray[Any]],
    reference: Reference,
    *,
    trained: bool = False,
) -> Parity:
    """Compare an artifact, whose outputs for the seeded input are `tensors`, with the reference."""
    samples = reference.samples
    return parity.judge(
        precision,
        (reference.loaded.expected, host.reals(tensors)),
        _pairs(host, zip(samples.inputs, samples.expected, strict=False)),
        drawn=_pairs(host, samples.drawn),
        steps=[_step(spec) for spec in host.outputs],
        trained=trained,
        beyond=samples.beyond,
    )


def _pairs(
    host: Artifact, references: Iterable[tuple[Sample, tuple[NDArray[Any], ...]]]
) -> Iterator[parity.OutputPair]:
    """Run the artifact on each input and yield PyTorch's outputs and its own."""
    for sample, wanted in references:
        yield wanted, host.reals(host.run(sample))


def _step(spec: TensorSpec) -> float | None:
    return spec.quantization.per_tensor[0] if spec.quantization else spec.step
