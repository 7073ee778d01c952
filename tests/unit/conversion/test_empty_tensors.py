"""Operators over tensors without elements become constants, or leave what they do not change."""

import pytest
import torch
from torch.nn import functional as F

from nnlite_conversion.culprit import EmptyTensorNode
from nnlite_conversion.export_errors import of_export
from nnlite_conversion.pipeline.lowering.rewrites import apply_rewrites
from unit.conversion.rewriting import Network, applied, rewritten

pytestmark = pytest.mark.filterwarnings("ignore")

ROWS = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
CUBE = ROWS.view(1, 2, 4)
NO_ROWS, NO_INDEX = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)


def of_linear(bias):
    weight, shift = torch.zeros(4, 0), torch.arange(4.0) if bias else None
    return lambda x: x * F.linear(F.linear(x, weight.T).relu_(), weight, shift).sigmoid()


def normalized(x):
    return F.batch_norm(F.layer_norm(x, (4,)), torch.zeros(4), torch.ones(4))


def written_in_place(x):
    y = x.clone()
    y[:, 4:] = 1.0
    y.index_put_((NO_INDEX,), NO_ROWS)
    return y * 2 + x[:, :0].sum()


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (of_linear(bias=True), ROWS),
        (of_linear(bias=False), ROWS),
        (of_linear(bias=True), CUBE[None]),
        (lambda x: torch.addmm(x[0], x[:, :0], NO_ROWS, beta=2), ROWS),
        (lambda x: torch.baddbmm(x, x[..., :0], x[:, :0]), CUBE),
        (lambda x: x + x[:, :0] @ NO_ROWS, ROWS),
        (lambda x: x + x[..., :0] @ NO_ROWS, CUBE),
        (lambda x: x + x[:, :0] @ NO_ROWS[:, 0][:, None], ROWS),
        (lambda x: x + torch.einsum("bi,ij,bj->bj", x[:, :0], NO_ROWS, x), ROWS),
        (lambda x: x + F.scaled_dot_product_attention(x, x[:, :0], x[:, :0]), CUBE),
        (lambda x: x + torch.cdist(x[:, :0], x[:, :0])[:, :1], ROWS),
        *(
            (lambda x, reduced=reduced: x + reduced(x[:, :0]), ROWS)
            for reduced in (
                lambda x: x.sum(1, keepdim=True),
                lambda x: x.prod(1, keepdim=True),
                lambda x: x.norm(dim=1, keepdim=True),
                lambda x: x.logsumexp(1, keepdim=True),
                lambda x: x.bool().any().float() + x.bool().all().float(),
                lambda x: torch.ones_like(x.sum(1, keepdim=True)),
                lambda x: F.pad(x, (2, 2), value=3.0),
                lambda x: x.new_full((4,), 2.0),
            )
        ),
        (lambda x: torch.cat([x, x[:, :0].softmax(1), x[:, 4:]], 1) * 2, ROWS),
        (lambda x: torch.cat([torch.zeros(0), x]) * 2, ROWS),
        (lambda x: torch.cat([x, F.embedding(NO_INDEX, x)]), ROWS),
        (lambda x: torch.cat([x, normalized(x[:0])]), ROWS),
        (lambda x: x.index_add(0, NO_INDEX, NO_ROWS) + x.slice_scatter(x[:, :0], 1, 0, 0), ROWS),
        (written_in_place, ROWS),
    ],
)
def test_what_follows_from_empty_tensors_is_equal_and_nothing_reads_one(function, x):
    program, names = applied(function, x)
    assert names[0] == "without_empty_tensors"
    read = {each for node in program.graph.nodes for each in node.all_input_nodes}
    assert all(0 not in node.meta["val"].shape for node in read)
    wanted, results, _, _ = rewritten(function, x, program)
    torch.testing.assert_close(results, wanted, atol=2e-5, rtol=2e-5, check_stride=False)


def test_means_and_variances_of_nothing_are_not_numbers():
    def function(x):
        variance, mean = torch.var_mean(x[:, :0], 1)
        return torch.stack([variance, mean, x[:, :0].mean(1)]) + x[:, 0]

    program = torch.export.export(Network(function), (ROWS,), strict=False)
    assert apply_rewrites(program) == ("without_empty_tensors",)
    assert program.module()(ROWS).isnan().all()


@pytest.mark.parametrize("function", [lambda x: x[:, :0], lambda x: x.split([0, 4], 1)[1] * 2])
def test_a_graph_in_which_nothing_follows_from_an_empty_tensor_stays(function):
    assert apply_rewrites(torch.export.export(Network(function), (ROWS,), strict=False)) == ()


def test_another_operator_of_an_empty_tensor_and_others_is_refused_with_its_line():
    def function(x):
        return x.masked_scatter(x > 100, x[:0])

    program = torch.export.export(Network(function), (ROWS,), strict=False)
    with pytest.raises(EmptyTensorNode) as refused:
        apply_rewrites(program)
    reason = of_export(refused.value)
    assert reason.cause == "operator aten.masked_scatter.default takes a tensor without elements"
    assert "layer without channels" in reason.remedy
