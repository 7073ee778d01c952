"""Runs an exported graph in PyTorch and keeps the result of every operator."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._pytree import tree_leaves

from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import Stage
from nnlite_conversion.culprit import code_line
from nnlite_conversion.explanations import explained

#: Most bytes of results that are kept.
MAX_BYTES = 4 << 30


@dataclass(frozen=True, kw_only=True)
class GraphStep:
    """One operator of the graph, with its result for one input."""

    #: Name of its node, which is unique in the graph.
    name: str
    #: As PyTorch calls it, such as `aten.conv2d`.
    operator: str
    #: Path of the module that calls it, such as `features.0`; empty: the network itself.
    module: str
    #: File, line and source line in the model's code that lead to it; None: it is not known.
    line: str | None
    #: Names of the nodes that it takes, the graph's inputs and constants included.
    inputs: tuple[str, ...]
    value: NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class GraphTrace:
    """Every result of a graph for one input."""

    #: Its operators, in order.
    steps: list[GraphStep]
    #: The node that computes each output.
    output_nodes: list[str]
    outputs: list[NDArray[Any]]


def trace_graph(program: torch.export.ExportedProgram, samples: Sequence[NDArray[Any]]) -> GraphTrace:
    """Run the graph and return its results.

    Raises:
        Failure: class `model`: the results do not fit into memory, or an operator fails.
    """
    module = program.module()
    recorder = _Recorder(module)
    try:
        with torch.no_grad():
            outputs = recorder.run(*(torch.from_numpy(sample.copy()) for sample in samples))
    except Failure:
        raise
    except (Exception, SystemExit) as error:
        raise explained(Stage.PARITY, error, "the exported graph does not run") from error
    (output_node,) = module.graph.find_nodes(op="output")
    return GraphTrace(
        steps=recorder.steps,
        output_nodes=[node.name for node in output_node.all_input_nodes],
        outputs=[_array(output) for output in tree_leaves(outputs)],
    )


class _Recorder(torch.fx.Interpreter):  # type: ignore[misc]
    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.steps: list[GraphStep] = []
        self._bytes = 0

    def run_node(self, node: torch.fx.Node) -> Any:
        result = super().run_node(node)
        if node.op == "call_function" and isinstance(result, torch.Tensor) and _module(node):
            value = _array(result)
            self._bytes += value.nbytes
            if self._bytes > MAX_BYTES:
                reason = (
                    f"the results of its operators take more than {MAX_BYTES >> 30} GiB; use a smaller input"
                )
                raise Failure(FailureClass.MODEL, Stage.PARITY, reason)
            self.steps.append(_step(node, value))
        return result


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a copy, which later operators that work in place do not change."""
    tensor = tensor.detach()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    array: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy()
    return array.copy()


def _step(node: torch.fx.Node, value: NDArray[Any]) -> GraphStep:
    line = code_line(node.meta.get("stack_trace") or "")
    return GraphStep(
        name=node.name,
        operator=_operator(node),
        module=_module(node).removeprefix("network").lstrip("."),
        line=None if line is None else str(line),
        inputs=tuple(each.name for each in node.all_input_nodes),
        value=np.atleast_1d(value),
    )


def _module(node: torch.fx.Node) -> str:
    """Return the path of the module that calls a node; empty: `ChannelsLast`, around the network."""
    stack = node.meta.get("nn_module_stack")
    return str(next(reversed(stack.values()))[0]) if stack else "network"


def _operator(node: torch.fx.Node) -> str:
    overload = node.target
    return str(getattr(overload, "overloadpacket", overload)) if callable(overload) else str(overload)
