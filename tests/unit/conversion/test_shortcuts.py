"""The shortcuts of lowering give what the libraries give, or leave it to them."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from litert_torch import fx_infra
from torch._export import utils as export_utils
from torch.fx import Node
from torch.utils._pytree import tree_map

from nnlite.vocabulary import Shortcut
from nnlite_conversion.pipeline.lowering import (
    aten_operators,
    decomposition_tables,
    fast_decomposition,
    fast_lowering,
)
from nnlite_conversion.pipeline.lowering import lower as lowering
from unit.conversion.operator_cases import CASES, Case

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

#: What memory that is changed in place is shared with a view.
LEFT_TO_TORCH = ("view_changed_in_place", "input_of_view_changed")
#: Cases with graphs of their own: these, and those that work in place, after which torch splits up more.
_ALONE = (*LEFT_TO_TORCH, "block", "elu_in_place")
#: The other cases of one shape share graphs: to prepare a graph takes longer than its operators.
_IN_A_GRAPH = 10
_BY_SHAPE = [
    [case for case in CASES if case.shape == shape and case.name not in _ALONE]
    for shape in dict.fromkeys(case.shape for case in CASES)
]
GROUPS = [
    *([case] for case in CASES if case.name in _ALONE),
    *(
        cases[start : start + _IN_A_GRAPH]
        for cases in _BY_SHAPE
        for start in range(0, len(cases), _IN_A_GRAPH)
    ),
]


class Several(torch.nn.Module):
    """The networks of cases as one, with the outputs of each."""

    def __init__(self, cases: Sequence[Case]) -> None:
        super().__init__()
        self.networks = torch.nn.ModuleDict({case.name: case.network() for case in cases})

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(network(x) for network in self.networks.values())


@pytest.fixture
def graph_of():
    """Return a function from cases to their graph before lowering to MLIR, made with the named shortcuts."""

    def make(cases: Sequence[Case], shortcuts: Sequence[Shortcut]) -> list[Any]:
        sample = torch.rand(cases[0].shape, generator=torch.Generator().manual_seed(1))
        fast_lowering.use(shortcuts)
        with torch.no_grad():
            return described(lowering.prepared(lowering.export(Several(cases).eval(), (sample,))).graph)

    yield make
    fast_lowering.use(Shortcut)


def described(graph: torch.fx.Graph) -> list[Any]:
    """Return the operators of a graph with their arguments, the types of their results and their modules."""
    numbers: dict[Node, str] = {}
    lines = []
    for node in graph.nodes:
        numbers[node] = f"%{len(numbers)}"
        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda each: numbers[each])
        if node.target is torch.ops.litert_torch.mark_tensor.default:
            args = (*args[:3], *args[4:])  # without the random name of what it marks
        value = tree_map(kind_of, node.meta.get("val")) if node.op == "call_function" else None
        modules = [name for name, _ in node.meta.get("nn_module_stack", {}).values()]
        target = node.op if node.op != "call_function" else str(node.target)
        lines.append((target, str(args), str(kwargs), str(value), modules))
    return lines


def kind_of(value: Any) -> Any:
    return (value.shape, value.stride(), value.dtype) if isinstance(value, torch.Tensor) else value


@pytest.fixture
def left_to_torch(monkeypatch):
    """Return a list of the reasons for which graphs are left to torch."""
    reasons: list[str] = []
    expanded = fast_decomposition.Expander.expanded

    def noting(self: fast_decomposition.Expander) -> Any:
        try:
            return expanded(self)
        except Exception as error:
            reasons.append(f"{type(error).__name__}: {error}")
            raise

    monkeypatch.setattr(fast_decomposition.Expander, "expanded", noting)
    return reasons


@pytest.mark.parametrize("cases", GROUPS, ids=lambda cases: cases[0].name)
def test_operators_are_decomposed_as_torch_does(cases, graph_of, left_to_torch):
    fast = graph_of(cases, [Shortcut.DECOMPOSITION])
    reasons = [*left_to_torch]

    assert fast == graph_of(cases, [])
    assert bool(reasons) == (cases[0].name in LEFT_TO_TORCH), reasons


def test_operator_that_was_not_compared_is_left_to_torch(graph_of, left_to_torch, monkeypatch):
    cases = [case for case in CASES if case.name == "relu"]
    monkeypatch.setattr(aten_operators, "VERIFIED", aten_operators.VERIFIED - {"relu"})

    assert graph_of(cases, [Shortcut.DECOMPOSITION]) == graph_of(cases, [])
    assert "relu" in left_to_torch[0]


@pytest.mark.parametrize("name", fast_lowering.VERSIONS)
def test_other_versions_of_the_libraries_are_used_as_they_are(name, graph_of, left_to_torch, monkeypatch):
    monkeypatch.setitem(fast_lowering.VERSIONS, name, "1.0")
    decompose: Callable[..., Any] = torch.export.ExportedProgram.run_decompositions

    assert name in str(fast_lowering.not_fitting())
    with fast_lowering.fast_lowering():
        assert torch.export.ExportedProgram.run_decompositions is decompose


@pytest.mark.parametrize("table", ["pre_convert_decomp", "pre_lower_decomp"])
def test_a_decomposition_table_is_prepared_once(table):
    tables = [getattr(fx_infra.decomp, table)() for _ in range(2)]
    first = decomposition_tables.prepared_table(tables[0])

    assert any(one is not tables[1][operator] for operator, one in tables[0].items())
    assert decomposition_tables.prepared_table(tables[1]) is first
    other = tables[1] | {torch.ops.aten.relu.default: torch.ops.aten.sigmoid.default}
    assert decomposition_tables.prepared_table(other) is not first


def test_composite_operators_equal_those_that_torch_collects():
    assert decomposition_tables.composite_operators() == export_utils._collect_all_valid_cia_ops()


def test_operator_registered_later_is_found():
    before = decomposition_tables.composite_operators()
    library = torch.library.Library("nnlite_test_patches", "DEF")
    try:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x * 2, "CompositeImplicitAutograd")

        operators = decomposition_tables.composite_operators() - before
    finally:
        library._destroy()

    assert {operator.name() for operator in operators} == {"nnlite_test_patches::twice"}
