"""Explains the parity of one artifact: runs it and PyTorch's graph side by side, operator by operator.

Runs in the sandboxed child, in its private folder. The artifact is converted again, with tensors that are
named after the graph's nodes; otherwise it is what a conversion makes.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlite.errors import FailureClass
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import CALIBRATED, Precision, Stage
from nnlite_conversion.explanations import explained, of_runtime
from nnlite_conversion.messages import Explanation, artifact_name
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.pipeline import making, references, stages
from nnlite_conversion.pipeline.checking import Reference
from nnlite_conversion.pipeline.explaining import departure
from nnlite_conversion.pipeline.explaining.artifact_trace import TracedArtifact
from nnlite_conversion.pipeline.explaining.graph_trace import trace_graph
from nnlite_conversion.pipeline.loading.load import Loaded, load
from nnlite_conversion.pipeline.lowering.debug_names import tensors_named_after_nodes
from nnlite_conversion.pipeline.verifying.parity import HostArtifact


def explain_model(
    job: ConversionJob, settings: ConversionSettings, enter: Callable[[Stage], None]
) -> Explanation:
    """Convert the model to the one precision of `job` and compare every operator on one input.

    Of the inputs that parity is judged on it is the first for which the artifact is off, or else the first.

    Raises:
        Failure: class `model`; the reason names what cannot be done.
        ModelSkipped: the model exceeds a limit.
    """
    (precision,) = job.precisions
    enter(Stage.LOAD)
    loaded, _ = load(job, Path.cwd())
    enter(Stage.EXPORT)
    program, rewrites, _ = stages.export(loaded)
    enter(Stage.LOWER)
    fp32 = path = Path(artifact_name(Precision.FP32))
    with tensors_named_after_nodes():
        rewrites += stages.lower(program, loaded, fp32)
    if job.calibration is not None:
        enter(Stage.CALIBRATE)
    samples = references.with_drawn(references.calibration_samples(job, loaded), loaded, job.seed)
    if precision is not Precision.FP32:
        path = Path(artifact_name(precision))
        reference = Reference(loaded=loaded, samples=samples)
        data = references.data_of(job, samples, settings)
        making.made(precision, fp32, data, reference, enter, trained=job.model.trained)
    enter(Stage.PARITY)
    try:
        measured = HostArtifact(path, settings.threads)
        inputs, expected, by_xnnpack = _input_to_explain(precision, measured, loaded, samples)
        graph = trace_graph(program, inputs)
        original = TracedArtifact(fp32, settings.threads)
        results = original.reals(original.run(inputs))
        steps = departure.compare(graph.steps, original.steps(graph.output_nodes))
        if precision is not Precision.FP32:
            artifact = TracedArtifact(path, settings.threads)
            results = artifact.reals(artifact.run(inputs))
            quantized = artifact.steps(graph.output_nodes)
            steps = departure.compare_quantized(graph.steps, steps, quantized, precision)
    except (RuntimeError, ValueError) as error:
        raise explained(Stage.PARITY, error, of_runtime(error), FailureClass.RUNTIME) from error
    note = None
    if not departure.agree(Precision.FP32, expected, graph.outputs):
        note = "the rewrites change the network's result"
    elif not departure.agree(precision, results, by_xnnpack):
        note = "XNNPACK, which measurements use, gives another result than the kernels compared here"
    elif not all(np.isfinite(output).any() for output in expected if output.size):
        note = "an output has no finite value for this input: nothing was compared there"
    return Explanation(
        precision=precision,
        steps=tuple(steps),
        departs=departure.first_departure(steps),
        rewrites=rewrites,
        note=note,
    )


def _input_to_explain(
    precision: Precision, artifact: HostArtifact, loaded: Loaded, samples: references.Samples
) -> tuple[Sequence[NDArray[Any]], Sequence[NDArray[Any]], Sequence[NDArray[Any]]]:
    """Return an input with PyTorch's outputs and the artifact's for it."""
    calibrated = list(zip(samples.inputs, samples.expected, strict=False))
    drawn = [(loaded.samples, loaded.expected), *samples.drawn]
    # What is calibrated on pictures cuts off the values of noise, in the first operator already.
    judged = calibrated if precision in CALIBRATED and calibrated else drawn
    triples = ((inputs, expected, artifact.reals(artifact.run(inputs))) for inputs, expected in judged)
    first = next(triples)
    off = (
        each for each in itertools.chain([first], triples) if not departure.agree(precision, each[1], each[2])
    )
    return next(off, first)
