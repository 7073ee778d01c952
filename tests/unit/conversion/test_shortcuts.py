"""The shortcuts of lowering give what the libraries give, or leave it to them."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest
import torch
from litert_torch import fx_infra
from torch._export import utils as export_utils

from atlas.case import Case, case
from atlas.cases import CASES
from atlas.decompositions import inputs_of, is_equal, main, network_of
from atlas.writing import FILE, qualified
from nnlite_conversion.pipeline.lowering import (
    aten_operators,
    decomposition_tables,
    fast_decomposition,
    fast_lowering,
)
from nnlite_conversion.pipeline.lowering import lower as lowering

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The tensor attributes .* were assigned during export:UserWarning"),
]

IMAGE, ROWS = (1, 4, 6, 6), (2, 8)
#: Several operators together, some of which work in place, after which torch splits up more.
NETWORKS = {
    "block": case(
        "conv2d",
        "y = self.body(x)\ny += x\nreturn F.relu_(y)",
        IMAGE,
        init=(
            "self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), "
            "nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False), nn.BatchNorm2d(4))"
        ),
    ),
    "mlp": case(
        "linear",
        "self.layers(x)",
        ROWS,
        init=(
            "self.layers = nn.Sequential(nn.Linear(8, 6), nn.ReLU(inplace=True), "
            "nn.Dropout(0.5, inplace=True), nn.Linear(6, 6, bias=False), nn.SiLU(inplace=True), "
            "nn.Linear(6, 3))"
        ),
    ),
    "tied": case(
        "linear",
        "self.second(self.first(x))",
        ROWS,
        init=(
            "self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)\n"
            "self.second.weight = self.first.weight"
        ),
    ),
    "elu_in_place": case("elu", "F.leaky_relu_(F.elu_(x + 1), 0.1)", IMAGE),
    "numbers": case("mul", "(2 * x + 1 - x / 3) * 0.5", IMAGE),
}
#: What memory that is changed in place is shared with a view.
LEFT_TO_TORCH = {
    "view_changed_in_place": case("relu", "y = x + 1\ny.view(-1).relu_()\nreturn y", IMAGE),
    "input_of_view_changed": case("sub", "y = x + 1\nz = y.view(-1)\ny.sub_(0.5)\nreturn z * 2", IMAGE),
    "circular_padding": CASES["conv2d 3, padding=1, padding_mode='circular'"],
}
_CONVERTED = {
    (each["operator"], each["variant"])
    for each in orjson.loads(FILE.read_bytes())["cases"]
    if each["states"]["fp32"] == "ok"
}
#: Operators and cases that are left to torch, as a whole or in part, or have sizes by values.
_NOT_VERIFIED = {
    "SqueezeExcitation", "_upsample_bilinear2d_aa", "detach", "embedding_bag", "gru_cell", "istft", "item",
    "lstm_cell",
    "one_hot", "quantile", "rrelu", "slice_scatter", "stft", "buffer", "deform_conv2d", "roi_align",
    "dropout F.dropout2d(F.dropout(x, 0.5, self.training), 0.5, self.training)", "embedding",
    "index_put a number by a mask", *(each.name for each in LEFT_TO_TORCH.values()),
}  # fmt: skip
#: To prepare a graph takes longer than its operators.
_IN_A_GRAPH = 30


def first_cases() -> list[Case]:
    """Return the first case of each operator of the suite, of those that can be verified."""
    first: dict[str, Case] = {}
    for each in CASES.values():
        converted = (qualified(each.operator), each.variant) in _CONVERTED
        if converted and not {each.operator, each.name} & _NOT_VERIFIED:
            first.setdefault(each.operator, each)
    return [*first.values()]


FIRST = first_cases()


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


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_networks_are_decomposed_as_torch_does(network, left_to_torch):
    assert is_equal([network])
    assert not left_to_torch


@pytest.mark.parametrize("start", range(0, len(FIRST), _IN_A_GRAPH))
def test_operators_are_decomposed_as_torch_does(start, left_to_torch):
    assert is_equal(FIRST[start : start + _IN_A_GRAPH])
    assert not left_to_torch


@pytest.mark.parametrize("network", LEFT_TO_TORCH.values(), ids=LEFT_TO_TORCH)
def test_shared_memory_that_changes_is_left_to_torch(network, left_to_torch):
    assert is_equal([network])
    assert "may be shared" in left_to_torch[0]


def test_a_command_compares_the_suite_and_names_what_can_be_verified(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["atlas.decompositions", "--all", "relu6*"])
    assert main() == 0
    assert capsys.readouterr().out.split() == ["hardtanh", "mul", "relu6"]


def test_nodes_keep_the_origin_by_which_errors_name_their_line():
    network = NETWORKS["numbers"]
    program = lowering.prepared(lowering.export(network_of(network), inputs_of(network)))
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    assert nodes and all(node.meta["from_node"] and node.stack_trace for node in nodes)


def test_operator_that_was_not_compared_is_left_to_torch(left_to_torch, monkeypatch):
    monkeypatch.setattr(aten_operators, "VERIFIED", aten_operators.VERIFIED - {"elu"})

    assert is_equal([NETWORKS["elu_in_place"]])
    assert "elu" in left_to_torch[0]


@pytest.mark.parametrize("name", fast_lowering.VERSIONS)
def test_other_versions_of_the_libraries_are_used_as_they_are(name, monkeypatch):
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
