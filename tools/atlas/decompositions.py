"""Compares graphs decomposed with shortcut `decomposition` with torch's, over the operator suite.

`python -m atlas.decompositions` takes ten minutes and fails where a graph differs. With `--all` it takes all
operators for verified, and prints those that occur where graphs are equal, and nowhere else.
"""

import argparse
import io
import sys
import warnings
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from fnmatch import fnmatchcase
from typing import Any
from unittest import mock

import torch
from torch.utils._pytree import tree_map

from atlas.case import Case
from atlas.cases import CASES
from nnlite.vocabulary import Shortcut
from nnlite_conversion.pipeline.lowering import aten_operators, fast_lowering
from nnlite_conversion.pipeline.lowering import lower as lowering

Graph = list[Any]


class Several(torch.nn.Module):  # type: ignore[misc]
    """Networks as one, each with its inputs, and with the outputs of all."""

    def __init__(self, networks: Iterable[torch.nn.Module], inputs: Iterable[int]) -> None:
        super().__init__()
        self.networks = torch.nn.ModuleList(networks)
        self.inputs = [*inputs]

    def forward(self, *inputs: torch.Tensor) -> tuple[Any, ...]:
        left = iter(inputs)
        return tuple(
            network(*(next(left) for _ in range(number)))
            for network, number in zip(self.networks, self.inputs, strict=True)
        )


def network_of(case: Case) -> torch.nn.Module:
    """Return the network of a case with weights that are always the same."""
    names: dict[str, Any] = {}
    exec(compile(case.code, "net.py", "exec"), names)  # noqa: S102 (the suite's own code)
    torch.manual_seed(0)
    network: torch.nn.Module = names["Net"]().eval()
    return network


def inputs_of(case: Case) -> tuple[torch.Tensor, ...]:
    """Return inputs of a case: graphs depend on their shapes and types only."""
    generator = torch.Generator().manual_seed(1)
    return tuple(
        torch.rand(each.shape, generator=generator).to(getattr(torch, each.dtype)) for each in case.inputs
    )


def graph_of(cases: Sequence[Case], shortcuts: Sequence[Shortcut]) -> Graph:
    """Return the graph before lowering to MLIR of the networks of `cases`, made with the named shortcuts.

    Raises:
        Exception: one of them cannot be exported or decomposed.
    """
    inputs = [inputs_of(case) for case in cases]
    module = Several(map(network_of, cases), map(len, inputs)).eval()
    samples = tuple(each for several in inputs for each in several)
    fast_lowering.use(shortcuts)
    try:
        with torch.no_grad():
            return described(lowering.prepared(lowering.export(module, samples)).graph)
    finally:
        fast_lowering.use(Shortcut)


def described(graph: torch.fx.Graph) -> Graph:
    """Return the operators of a graph with their arguments, the types of their results and their modules."""
    numbers: dict[torch.fx.Node, str] = {}
    lines = []
    for node in graph.nodes:
        numbers[node] = f"%{len(numbers)}"
        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda each: numbers[each])
        if node.target is torch.ops.litert_torch.mark_tensor.default:
            args = (*args[:3], *args[4:])  # without the random name of what it marks
        value = tree_map(_kind, node.meta.get("val")) if node.op == "call_function" else None
        modules = [name for name, _ in node.meta.get("nn_module_stack", {}).values()]
        target = node.op if node.op != "call_function" else str(node.target)
        lines.append((target, str(args), str(kwargs), str(value), modules))
    return lines


def _kind(value: Any) -> Any:
    """Return what is compared of a result; the stride of a dimension of one element means nothing."""
    if not isinstance(value, torch.Tensor):
        return value
    strides = [stride if size > 1 else 0 for size, stride in zip(value.shape, value.stride(), strict=True)]
    return value.shape, strides, value.dtype


class Every(frozenset[str]):
    """A set that contains all names, and notes those that were asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return True


def is_equal(cases: Sequence[Case]) -> bool:
    """Whether the graph of these networks is the same with the shortcut and without; raises as `graph_of`."""
    return graph_of(cases, [Shortcut.DECOMPOSITION]) == graph_of(cases, [])


def main() -> int:
    """Compare the suite, or the named cases; return 1 if one differs."""
    parser = argparse.ArgumentParser(prog="python -m atlas.decompositions", description=__doc__)
    parser.add_argument("patterns", nargs="*", help="only cases whose name is like one of these")
    parser.add_argument("--all", action="store_true", help="take every operator for verified")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for name, case in CASES.items():
        if arguments.patterns and not any(fnmatchcase(name, pattern) for pattern in arguments.patterns):
            continue
        every = Every()
        verified = every if arguments.all else aten_operators.VERIFIED
        try:
            with (
                mock.patch.object(aten_operators, "VERIFIED", verified),
                redirect_stdout(io.StringIO()),  # litert-torch prints its progress
            ):
                equal = is_equal([case])
        except Exception as error:  # noqa: BLE001  (torch.export's errors have no base class)
            print(f"{name}: {type(error).__name__}", file=sys.stderr, flush=True)
            continue
        found[equal] |= every.asked or {name}
        print(f"{name}: {'equal' if equal else 'differs'}", file=sys.stderr, flush=True)
    if arguments.all:
        print(*sorted(found[True] - found[False]))
        return 0
    print(*sorted(found[False]), sep="\n")
    return 1 if found[False] else 0


if __name__ == "__main__":
    sys.exit(main())
