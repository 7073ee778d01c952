"""Compares the operators of a graph with those of its artifact, and finds where the artifact departs."""

import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnlite.vocabulary import ParityState, Precision, StepState
from nnlite_conversion.outcome import ExplainedStep
from nnlite_conversion.pipeline.explaining.artifact_trace import ArtifactStep
from nnlite_conversion.pipeline.explaining.graph_trace import GraphStep
from nnlite_conversion.pipeline.verifying.comparison import MAX_SQNR_DB, OutputComparison
from nnlite_conversion.pipeline.verifying.judging import OutputJudge

_Results = Mapping[str, Sequence[ArtifactStep]]


def compare(graph: Sequence[GraphStep], fp32: Sequence[ArtifactStep]) -> list[ExplainedStep]:
    """Return one row for each operator of the graph, in order.

    A result of the artifact belongs to the last of the nodes that its tensor is named after: the others are
    fused into it. Where a node has several, as after a change of layout, the closest one counts. A node whose
    results are all different is fused as well, and they are intermediate ones, if everything that uses it is
    right.

    Args:
        graph: operators of the graph, with their results.
        fp32: operators of the fp32 artifact, with their results for the same input.
    """
    results = _by_node(graph, fp32)
    closest = {step.name: _closest(Precision.FP32, step, results[step.name]) for step in graph}
    right = {name for name, match in closest.items() if match is not None and match.reason is None}
    fused = _fused(graph, right)
    return _rows([(step, None if step.name in fused else closest[step.name]) for step in graph])


def compare_quantized(
    graph: Sequence[GraphStep],
    fp32: Sequence[ExplainedStep],
    quantized: Sequence[ArtifactStep],
    precision: Precision,
) -> list[ExplainedStep]:
    """Return the rows of an artifact that was made from an fp32 artifact, whose tensors have the same names.

    Args:
        graph: operators of the graph, with their results.
        fp32: the rows of the fp32 artifact; where it departs, the quantized one does.
        quantized: operators of the quantized artifact, with their results for the same input.
        precision: of that artifact.
    """
    by_tensor: dict[str, list[ArtifactStep]] = defaultdict(list)
    for result in quantized:
        by_tensor[result.tensor].append(result)
    matches = []
    for step, original in zip(graph, fp32, strict=True):
        match = _closest(precision, step, by_tensor[original.tensor]) if original.tensor else None
        if match is not None and original.state is StepState.DEPARTS:
            match = match._replace(reason=f"in fp32: {original.reason}")
        matches.append((step, match))
    return _rows(matches)


def first_departure(rows: Sequence[ExplainedStep]) -> int | None:
    """Return the index of the first operator whose result departs; None: every result is right."""
    return next((row.index for row in rows if row.state is StepState.DEPARTS), None)


def agree(precision: Precision, expected: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]]) -> bool:
    """Return whether two lists of outputs have the same shapes and are within the limits of a precision."""
    return len(expected) == len(actual) and all(
        wanted.shape == got.shape and _why_off(precision, wanted, got) is None
        for wanted, got in zip(expected, actual, strict=True)
    )


def _by_node(graph: Sequence[GraphStep], artifact: Sequence[ArtifactStep]) -> _Results:
    """Return the artifact's results by the last of the nodes that they are named after."""
    order = {step.name: number for number, step in enumerate(graph)}
    results: dict[str, list[ArtifactStep]] = defaultdict(list)
    for result in artifact:
        known = [name for name in result.nodes if name in order]
        if known:
            results[max(known, key=order.__getitem__)].append(result)
    return results


def _fused(graph: Sequence[GraphStep], right: Collection[str]) -> set[str]:
    """Return the nodes that are not right themselves, but whose users all are, or are fused themselves."""
    users: dict[str, list[str]] = defaultdict(list)
    for step in graph:
        for name in step.inputs:
            users[name].append(step.name)
    fused: set[str] = set()
    for step in reversed(graph):
        used_by = users[step.name]
        if step.name not in right and used_by and all(name in right or name in fused for name in used_by):
            fused.add(step.name)
    return fused


class _Match(NamedTuple):
    """The result of the artifact that belongs to a node."""

    result: ArtifactStep
    sqnr_db: float
    #: Why it is off; None: it is right.
    reason: str | None


def _rows(matches: Sequence[tuple[GraphStep, _Match | None]]) -> list[ExplainedStep]:
    """Return the rows of nodes and their results; None: fused."""
    quality: dict[str, float] = {}
    rows = []
    for number, (step, match) in enumerate(matches):
        before = min((quality[name] for name in step.inputs if name in quality), default=MAX_SQNR_DB)
        row = ExplainedStep(
            index=number,
            name=step.name,
            operator=step.operator,
            module=step.module,
            line=step.line,
            state=StepState.FUSED,
        )
        if match is not None:
            row = replace(
                row,
                state=StepState.RIGHT if match.reason is None else StepState.DEPARTS,
                reason=match.reason,
                artifact_operator=match.result.operator,
                tensor=match.result.tensor,
                sqnr_db=match.sqnr_db,
                own_sqnr_db=_own(before, match.sqnr_db),
            )
        # What is fused passes on the quality of what it takes.
        quality[step.name] = before if row.sqnr_db is None else row.sqnr_db
        rows.append(row)
    return rows


def _closest(precision: Precision, step: GraphStep, candidates: Sequence[ArtifactStep]) -> _Match | None:
    """Return the candidate with the highest ratio, in the layout that gives it; None: there is none."""
    pairs = [
        (_sqnr_db(expected, actual), expected, actual, candidate)
        for candidate in candidates
        if candidate.value.size == step.value.size
        for expected, actual in _layouts(step.value, candidate.value)
    ]
    if not pairs:
        return None
    sqnr_db, expected, actual, candidate = max(pairs, key=lambda pair: pair[0])
    return _Match(candidate, sqnr_db, _why_off(precision, expected, actual))


def _layouts(expected: NDArray[Any], actual: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield both as they are, and with the axes of `expected` in each order that gives `actual`'s shape."""
    yield expected, actual.reshape(expected.shape)
    squeezed, wanted = expected.squeeze(), actual.squeeze()
    for axes in itertools.permutations(range(squeezed.ndim)):
        permuted = squeezed.transpose(axes)
        if permuted.shape == wanted.shape and axes != tuple(range(squeezed.ndim)):
            yield permuted, wanted


def _sqnr_db(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    """Return the signal-to-quantization-noise ratio within +-`MAX_SQNR_DB`, over what is finite in both."""
    wanted, got = expected.astype(np.float64).ravel(), actual.astype(np.float64).ravel()
    finite = np.isfinite(wanted)
    if not np.array_equal(finite, np.isfinite(got)):
        return -MAX_SQNR_DB
    wanted, got = wanted[finite], got[finite]
    signal, noise = float(wanted @ wanted), float((wanted - got) @ (wanted - got))
    if not noise:
        return MAX_SQNR_DB
    return max(-MAX_SQNR_DB, min(10 * math.log10(signal / noise), MAX_SQNR_DB)) if signal else -MAX_SQNR_DB


def _why_off(precision: Precision, expected: NDArray[Any], actual: NDArray[Any]) -> str | None:
    """Return why a result is off, by the rules of parity; None: it is right, or nothing could be compared."""
    output = OutputComparison()
    output.add(expected, actual)
    findings = OutputJudge(precision=precision, number=0, output=output).findings()
    off = [finding for finding in findings if finding.state is ParityState.OFF]
    if not off:
        return None
    worst = min(off, key=lambda finding: MAX_SQNR_DB if finding.sqnr_db is None else finding.sqnr_db)
    where = "" if worst.place.axis is None else f"axis {worst.place.axis} index {worst.place.index}: "
    return f"{where}{worst.reason}"


def _own(before_db: float, after_db: float) -> float:
    """Return the ratio that an operator would have on exact inputs, from the noise that it adds to theirs."""
    added = 10 ** (-after_db / 10) - 10 ** (-before_db / 10)
    return min(-10 * math.log10(added), MAX_SQNR_DB) if added > 0 else MAX_SQNR_DB
