"""Operators on tensors of more dimensions than LiteRT has become equal ones on fewer. Nothing is lowered."""

import pytest
import torch
from torch.nn import functional as F

from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.lowering.rewrites.ranks import too_many_dimensions
from unit.conversion.rewriting import IMAGE, Network, assert_equal

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.process]

SIX = torch.randn(1, 2, 3, 2, 3, 4, generator=torch.Generator().manual_seed(2))


def windows(x):
    return (
        x.unfold(2, 3, 3).unfold(3, 2, 2), x.unfold(2, 3, 1).unfold(3, 4, 2), x.unfold(1, 1, 1),
        x.unfold(-1, 7, 1), x.unfold(0, 1, 5), x.unfold(3, 2, 4), x[0].unfold(1, 2, 2).unfold(0, 2, 1),
    )  # fmt: skip


def test_windows_of_tensors_of_any_rank_are_picked_by_index():
    operators = assert_equal(windows, IMAGE, ["windows_by_index"], 0)

    assert torch.ops.aten.unfold.default in operators, "those of three dimensions stay"


def test_padding_of_high_rank_pads_one_dimension_after_the_other():
    def function(x):
        return F.pad(x, (1, 2, 0, 1)), F.pad(x, (1,) * 12, value=3.0), F.pad(x[0], (0, 1)), F.pad(x, (-1, 1))

    assert_equal(function, SIX, ["padding_of_one_dimension"], 0)


def test_dimensions_that_are_no_neighbours_are_flipped_one_after_the_other():
    def function(x):
        return x.flip(0, 2), x.flip(-1, 1, 0), x.flip(5, 3, 1), x.flip(3, 2), x.flip(1)

    operators = assert_equal(function, SIX, ["flips_of_neighbours"], 0)

    assert torch.ops.aten.flip.default in operators


def test_places_of_triangles_are_constants():
    def function(x):
        rows, columns = torch.triu_indices(4, 6, 1)
        below = torch.tril_indices(3, 3, -1)
        return x[0, 0][rows, columns], x[0, 0][below[0], below[1]]

    assert_equal(function, IMAGE, ["places_of_upper_triangle", "places_of_lower_triangle"], 0)


def elementwise(x):
    row, wide = x[:, :1], x.repeat(1, 1, 2, 1, 1, 1)
    return (
        F.relu(x), x.clamp(0, 1), torch.maximum(x, row), x**3, F.relu6(wide), x.tanh(),
        x.unsqueeze(2) * 2, x.unsqueeze(2) + row.unsqueeze(2), torch.where(x > 0, x, 0.0).unsqueeze(2) / 3,
        torch.maximum(x[:, :1, :, :1, :, :1], x[:, :, :1, :, :1]), torch.maximum(x, x.tanh()),
        (x > 0).float().unsqueeze(1) - x[0, 0, 0],
    )  # fmt: skip


def test_elementwise_operators_of_high_rank_join_dimensions():
    rewrites = ["elements_of_joined_dimensions", "repeat_of_one_dimension"]
    operators = assert_equal(elementwise, SIX, rewrites)

    assert torch.ops.aten.clamp.default in operators or torch.ops.aten.hardtanh.default in operators


def reductions(x):
    x = x.unsqueeze(2)
    return (
        x.sum(3), x.sum((1, 4), keepdim=True), x.mean((0, 1)), x.amax(-1), x.amin((3, 4)), x.amax(),
        x.softmax(3), x.log_softmax(-1), x.max(1), x.norm(dim=(1, 3)), x.var(-1), torch.stack([x, x], 2),
        x.roll((1, -1), (3, -1)), x.gather(3, x[:, :1, :, :1].long() * 0),
    )  # fmt: skip


def test_reductions_and_joins_of_high_rank_join_dimensions():
    rewrites = [
        "reduction_of_joined_dimensions", "rows_of_joined_dimensions", "join_of_rows",
        "roll_of_one_dimension", "gathered_from_rows", "elements_of_joined_dimensions",
    ]  # fmt: skip
    assert_equal(lambda x: tuple(torch.utils._pytree.tree_leaves(reductions(x))), SIX, rewrites)


def test_products_with_many_batches_are_those_of_matrices():
    def function(x):
        return torch.einsum("abcdef,abcdef->abcf", x, x), torch.einsum("abcdef,abcgef->abcdg", x, x)

    assert_equal(function, SIX, ["einsum_of_many_batches"])


def test_what_has_too_many_dimensions_is_found():
    def function(x):
        return x.unsqueeze(0).scatter(1, torch.zeros(1, 1, 2, 3, 2, 3, 4).long(), 1.0) + x

    with torch.no_grad():
        program = lowering.decomposed(torch.export.export(Network(function), (SIX,), strict=False))

    assert [node.target for node in too_many_dimensions(program.graph)] == [torch.ops.aten.scatter.value]
