"""Operators of an inference, from the events of LiteRT's profiler and the artifact's graph.

XNNPACK reports its own operators, in order of execution, without saying which node of the artifact each
computes: it fuses nodes (padding into a convolution), splits them (an addition and its activation) and leaves
some out (a reshape). Each group of delegated nodes is therefore aligned with the operators that ran for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from nnlite_benchmark.host.graph_delegation import Node, delegated_groups

XNNPACK: Final = "XNNPACK"
#: Types of events, as in LiteRT's C API.
_DEFAULT: Final = 1 << 0
_OPERATOR: Final = 1 << 1
_DELEGATED_OPERATOR: Final = 1 << 3
#: Tag of the event of a whole inference.
_INFERENCE: Final = "Invoke"

#: XNNPACK's name of an operator, without parentheses: types of nodes that it computes, unless these are its
#: name in capitals.
_COMPUTES: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(types.split())
    for name, types in {
        "Average Pooling": "AVERAGE_POOL_2D MEAN",
        "Batch Matrix Multiply": "BATCH_MATMUL",
        "Ceiling": "CEIL",
        "Clamp": "RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1",
        "Constant Pad": "PAD PADV2",
        "Convert": "QUANTIZE DEQUANTIZE CAST",
        "Convolution": "CONV_2D DEPTHWISE_CONV_2D",
        "Copy": "CONCATENATION SPLIT RESHAPE",
        "Deconvolution": "TRANSPOSE_CONV",
        "Divide": "DIV",
        "Dynamic Fully Connected": "FULLY_CONNECTED BATCH_MATMUL",
        "Fully Connected": "FULLY_CONNECTED CONV_2D BATCH_MATMUL",
        "Global Average Pooling": "MEAN AVERAGE_POOL_2D",
        "HardSwish": "HARD_SWISH",
        "Invalid Unary Op": "LOGISTIC TANH ELU LEAKY_RELU GELU HARD_SWISH EXP SQRT RSQRT ABS NEG",
        "Leaky ReLU": "LEAKY_RELU",
        "Max Pooling": "MAX_POOL_2D",
        "Mean": "MEAN AVERAGE_POOL_2D",
        "Multiply": "MUL",
        "Negate": "NEG",
        "Reciprocal Square Root": "RSQRT",
        "Sigmoid": "LOGISTIC",
        "Slice": "SLICE STRIDED_SLICE SPLIT",
        "Square Root": "SQRT",
        "Static Reshape": "RESHAPE EXPAND_DIMS SQUEEZE",
        "Subtract": "SUB",
    }.items()
}
#: Operators that prepare the input of the next node, and that complete the node before.
_BEFORE: Final = frozenset({"Convert"})
_AFTER: Final = frozenset({"Clamp", "Copy", "Static Reshape", "Transpose"})


class ProfileError(Exception):
    """The artifact cannot be profiled; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of the profiler; its metadata are indices of a node and of a subgraph."""

    tag: str
    type: int
    time_us: int
    index: int
    subgraph: int


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One operator of an inference, in order of execution."""

    name: str
    #: None: a kernel of the runtime itself.
    delegate: str | None
    #: Index within its group of delegated nodes; of the runtime's own kernels that of the node.
    index: int
    #: Of the artifact; None: it cannot be told which one it belongs to.
    node: int | None = None


@dataclass(frozen=True, kw_only=True)
class Inference:
    """One profiled inference: its whole time and that of each operator, microseconds."""

    time_us: int
    operators: tuple[Operator, ...]
    times_us: tuple[int, ...]


def inference_of(events: Sequence[Event]) -> Inference:
    """Return the inference that `events` describe.

    Raises:
        ProfileError: they are incomplete, or the artifact has control flow.
    """
    whole = [event.time_us for event in events if event.type == _DEFAULT and event.tag == _INFERENCE]
    if len(whole) != 1:
        raise ProfileError(f"the profiler has {len(whole)} inferences after one; it lost events")
    kept = [event for event in events if event.type in {_OPERATOR, _DELEGATED_OPERATOR}]
    if any(event.type == _OPERATOR and event.subgraph for event in kept):
        raise ProfileError("the artifact has control flow, whose operators the profiler counts twice")
    operators = tuple(
        Operator(
            name=event.tag,
            delegate=XNNPACK if event.type == _DELEGATED_OPERATOR else None,
            index=event.index,
            node=event.index if event.type == _OPERATOR else None,
        )
        for event in kept
    )
    return Inference(time_us=whole[0], operators=operators, times_us=tuple(event.time_us for event in kept))


def with_nodes(operators: Sequence[Operator], graph: Sequence[Node]) -> list[Operator]:
    """Return delegated operators with the nodes of the artifact that they compute, as far as these fit.

    Args:
        operators: of one inference.
        graph: nodes of a delegated interpreter, `DELEGATE` ones too.
    """
    groups = delegated_groups(graph)
    runs = _runs(operators)
    if len(groups) != len(runs):
        return list(operators)  # delegated in another way than the interpreter does
    found = list(operators)
    for nodes, positions in zip(groups, runs, strict=True):
        names = [_base(operators[position].name) for position in positions]
        for position, node in zip(
            positions, _aligned(names, [(node, graph[node].name) for node in nodes]), strict=True
        ):
            found[position] = replace(found[position], node=node)
    return found


def _runs(operators: Sequence[Operator]) -> list[list[int]]:
    """Return the positions of delegated operators, by group: within one their indices count from zero."""
    runs: list[list[int]] = []
    for position, operator in enumerate(operators):
        if operator.delegate is None:
            continue
        if operator.index == 0 or not runs:
            runs.append([])
        runs[-1].append(position)
    return runs


def _aligned(names: Sequence[str], nodes: Sequence[tuple[int, str]]) -> list[int | None]:
    """Return the node of each operator: the longest common order of both, and what belongs to a neighbour."""
    matched = _longest_match(names, [kind for _, kind in nodes])
    found: list[int | None] = [None if each is None else nodes[each][0] for each in matched]
    for position, name in enumerate(names):
        if found[position] is None and name in _AFTER and position:
            found[position] = found[position - 1]
    for position in reversed(range(len(names) - 1)):
        if found[position] is None and names[position] in _BEFORE:
            found[position] = found[position + 1]
    return found


def _longest_match(names: Sequence[str], kinds: Sequence[str]) -> list[int | None]:
    """Match as many operators as possible with nodes, both in order; an operator has one node or none."""
    best = [[0] * (len(kinds) + 1) for _ in range(len(names) + 1)]
    for i in reversed(range(len(names))):
        for j in reversed(range(len(kinds))):
            matched = 1 + best[i + 1][j + 1] if computes(names[i], kinds[j]) else 0
            best[i][j] = max(matched, best[i + 1][j], best[i][j + 1])
    found: list[int | None] = [None] * len(names)
    i = j = 0
    while i < len(names) and j < len(kinds):
        if computes(names[i], kinds[j]) and best[i][j] == 1 + best[i + 1][j + 1]:
            found[i] = j
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return found


def computes(name: str, kind: str) -> bool:
    """Whether XNNPACK's operator `name`, without parentheses, can compute a node of type `kind`."""
    return kind in _COMPUTES.get(name, ()) or kind == name.upper().replace(" ", "_")


def _base(name: str) -> str:
    return name.partition(" (")[0]
