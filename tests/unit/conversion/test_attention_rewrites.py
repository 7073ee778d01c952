"""Attention to no place at all is zero, as PyTorch has it. Nothing is lowered here."""

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as attention

from nnlite_conversion.pipeline.lowering.rewrites import apply_rewrites
from unit.conversion.rewriting import IMAGE, applied, assert_equal

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.process]

#: What each of the 6 rows may attend to: row 0 to nothing, row 1 to one place, row 5 to all.
MASK = torch.ones(6, 6).tril(-1) == 1
LARGEST = torch.finfo().max


def masked(x):
    """Attend with masks that are computed from the input, in each form that the operator takes."""
    mask = MASK & (x.amax() > -9)
    infinite = torch.zeros(6, 6).masked_fill(~mask, -math.inf)
    rows = x[:, :, :, :1] > 0
    return (
        attention(x, x, x, attn_mask=mask), attention(x, x, x, mask, scale=0.3),
        attention(x, x, x, infinite + x[..., :6]), attention(x[0], x[0], x[0], mask[None]),
        attention(x[0, 0], x[0, 0], x[0, 0], mask), attention(x, x, x, rows),
        attention(x, x[:, :2], x[:, :2], attn_mask=mask, enable_gqa=True),
        attention(x, x, x, (~mask).float() * -LARGEST),
    )  # fmt: skip


def test_rows_whose_mask_excludes_every_place_become_zeros():
    operators = assert_equal(masked, IMAGE, [], 1e-6)

    assert torch.ops.aten.any.dim in operators


def test_two_layers_share_what_is_known_of_their_mask():
    def function(x):
        mask = x[..., :6] > 0
        return attention(attention(x, x, x, mask), x, x, mask)

    program, names = applied(function, IMAGE)

    assert names == ("zeros_where_all_is_masked",)
    assert len(program.graph.find_nodes(op="call_function", target=torch.ops.aten.any.dim)) == 1


def test_masks_that_no_input_decides_stay_as_they_are():
    def function(x):
        return attention(x, x, x), attention(x, x, x, is_causal=True), attention(x, x, x, MASK)

    assert applied(function, IMAGE)[1] == ()


class OwnAttention(torch.nn.MultiheadAttention):
    pass


class Layer(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer = kind(6, 2, batch_first=True)

    def forward(self, x):
        rows = x[0, :, :, :6]
        return self.layer(rows, rows, rows, key_padding_mask=rows[..., 0] > 0, need_weights=False)[0]


@pytest.mark.parametrize("kind", [torch.nn.MultiheadAttention, OwnAttention])
def test_a_layer_whose_kernel_returns_nan_stays_as_it_is(kind):
    with torch.no_grad():
        program = torch.export.export(Layer(kind).eval(), (IMAGE,), strict=False)

    assert apply_rewrites(program) == ()
