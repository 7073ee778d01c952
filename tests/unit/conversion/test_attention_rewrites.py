"""Attention to no place at all is zero, as PyTorch has it. Nothing is lowered here."""

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as attention

from nnlite_conversion.pipeline.lowering import lower as lowering
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
    """A layer whose mask excludes every place of the first sequence, and padding at the end of the second.

    Args:
        layer: of PyTorch.
        names: keywords of its masks.
    """

    def __init__(self, layer, *names, number=torch.bool):
        super().__init__()
        self.layer, self.names, self.number = layer, names, number

    def forward(self, x):
        rows = x[0, :2, :, :6]
        padding = (torch.arange(6) >= torch.tensor([[0], [4]])) & (x.amax() > -9)
        if self.number is not torch.bool:
            padding = torch.zeros(2, 6).masked_fill(padding, -math.inf)
        masks = dict.fromkeys(self.names, padding)
        if isinstance(self.layer, torch.nn.TransformerEncoderLayer | torch.nn.TransformerEncoder):
            return self.layer(rows, **masks)
        if isinstance(self.layer, torch.nn.TransformerDecoderLayer):
            return self.layer(rows, rows + 1, **masks)
        return self.layer(rows, rows, rows, **masks, need_weights=False)[0]


class WithGradients(Layer):
    """Computes as PyTorch does where gradients may be wanted: without kernels."""

    def forward(self, x):
        with torch.enable_grad():
            return super().forward(x)


def followed(network):
    """Return PyTorch's output, that of the rewritten program, and the rewrites of the graph."""
    torch.manual_seed(0)
    with torch.no_grad():
        program = lowering.export(network.eval(), (IMAGE,))
        names = apply_rewrites(program)
        wanted = network(IMAGE)
        program = lowering.rewritten(lowering.decompose(program))[0]
        return wanted, program.module()(IMAGE), names


KEYS = "key_padding_mask"
SOURCE = "src_key_padding_mask"
ENCODER_LAYER = torch.nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)


@pytest.mark.parametrize(
    "network",
    [
        Layer(torch.nn.MultiheadAttention(6, 2, batch_first=True), KEYS),
        Layer(OwnAttention(6, 2, batch_first=True), KEYS),
        Layer(ENCODER_LAYER, SOURCE),
    ],
)
def test_layers_whose_kernels_return_nan_stay_as_they_are(network):
    wanted, result, names = followed(network)

    assert names == () and wanted[0].isnan().all()
    torch.testing.assert_close(result, wanted, equal_nan=True)


@pytest.mark.parametrize(
    "network",
    [
        Layer(torch.nn.MultiheadAttention(6, 3, batch_first=True), KEYS),
        Layer(torch.nn.MultiheadAttention(6, 2, batch_first=True), KEYS, number=torch.float),
        Layer(torch.nn.TransformerDecoderLayer(6, 2, 8, batch_first=True), "memory_key_padding_mask"),
        Layer(torch.nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, activation=torch.tanh), SOURCE),
        WithGradients(ENCODER_LAYER, SOURCE),
    ],
)
def test_rows_of_other_layers_become_zeros(network):
    wanted, result, names = followed(network)

    assert names == ("zeros_where_layers_mask_all",) and wanted.isfinite().all()
    torch.testing.assert_close(result, wanted)


@pytest.mark.parametrize(
    ("norm", "checked"), [(None, True), (torch.nn.LayerNorm(6, bias=True), True), (None, False)]
)
def test_padding_that_an_encoder_leaves_out_is_zero(norm, checked):
    encoder = torch.nn.TransformerEncoder(ENCODER_LAYER, 2, norm, mask_check=checked)
    wanted, result, _ = followed(Layer(encoder, SOURCE))

    assert wanted.isfinite().all() and (wanted[1, 4:] == 0).all()
    torch.testing.assert_close(result, wanted)
