"""Operators that LiteRT cannot compute are rewritten into equal ones. Nothing is lowered here.

More than 300 lines: one network for each rewrite, compared with PyTorch in one way.
"""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.lowering.rewrites import OPERATORS, apply_rewrites
from nnlite_conversion.pipeline.lowering.rewrites.operators import rewrite_operators
from unit.conversion.rewriting import IMAGE, Network, applied, assert_equal, rewritten

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.process]

VIDEO = torch.randn(1, 4, 4, 6, 6, generator=torch.Generator().manual_seed(1))
ROWS = torch.tensor([0, 1, 2, 0, 1, 2]).view(1, 6, 1).expand(1, 6, 7)


def sums(x):
    return (
        torch.add(x, x, alpha=2), torch.add(x, 1, alpha=0.5), torch.sub(x, x.relu(), alpha=3),
        torch.sub(x, 2, alpha=3), torch.rsub(x, x * 2, alpha=3), torch.rsub(x, 2, alpha=0.1),
        x.clone().add_(x, alpha=4), x.clone().sub_(x, alpha=0.4),
        torch.add((x * 9).long(), (x * 5).long(), alpha=2).float(),
    )  # fmt: skip


def test_sums_and_differences_that_scale_one_side_are_products():
    assert_equal(sums, IMAGE, ["scaled_sum", "scaled_difference"])


def interpolations(x):
    return (
        F.interpolate(x, scale_factor=0.5), F.interpolate(x, scale_factor=1.5),
        F.interpolate(x, scale_factor=(0.5, 2)), F.interpolate(x, scale_factor=2.3),
        F.interpolate(x, scale_factor=1.7, recompute_scale_factor=True), F.interpolate(x, size=(9, 5)),
        F.interpolate(x, size=(1, 1)), F.interpolate(x, size=(6, 10)),
        F.interpolate(x, scale_factor=1.5, mode="nearest-exact"),
        F.interpolate(x.flatten(2), scale_factor=1.5), F.interpolate(x[None], size=(2, 9, 5)),
    )  # fmt: skip


def test_interpolation_to_the_nearest_element_picks_what_pytorch_picks():
    operators = assert_equal(interpolations, IMAGE, ["nearest_by_index"], 0)

    assert torch.ops.aten.upsample_nearest2d.vec not in operators


def bilinear(x, **options):
    return tuple(
        F.interpolate(x, scale_factor=scale, mode="bilinear", **options)
        for scale in (1.3, 0.7, (2, 1.3), (0.2, 2.3), (0.5, 1.5))
    )


def test_bilinear_interpolation_by_a_scale_takes_the_places_of_pytorch():
    operators = assert_equal(bilinear, IMAGE, ["bilinear_by_index"], 1e-6)

    assert torch.ops.aten.upsample_bilinear2d.vec not in operators


def test_bilinear_interpolation_by_the_ratio_of_the_sizes_stays():
    for options in ({"align_corners": True}, {"recompute_scale_factor": True}):
        assert_equal(partial(bilinear, **options), IMAGE, [])
    assert_equal(lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"), IMAGE[..., :6], [])
    assert_equal(lambda x: F.interpolate(x, size=(9, 5), mode="bilinear"), IMAGE, [])


def antialiased(x):
    return tuple(
        F.interpolate(x, mode=mode, antialias=True, align_corners=aligned, **size)
        for mode in ("bilinear", "bicubic")
        for aligned in (False, True)
        for size in ({"scale_factor": 0.5}, {"size": (3, 9)}, {"size": (1, 4)})
    )


def test_interpolation_with_antialiasing_is_two_products():
    operators = assert_equal(antialiased, IMAGE, ["antialiased_bilinear", "antialiased_bicubic"], 1e-6)

    assert not any("upsample" in str(operator) for operator in operators)


def test_whole_multiples_stay_an_interpolation():
    def function(x):
        return F.interpolate(x, scale_factor=2), F.interpolate(x, size=(12, 7))

    assert torch.ops.aten.upsample_nearest2d.vec in assert_equal(function, IMAGE, [], 0)


def scatters(x):
    ones = torch.ones(1, 1, 6, 7, dtype=torch.int64)
    few = torch.tensor([[[[1, 2], [0, 0]]]])
    counts = torch.zeros(1, 3, 7, dtype=torch.int64)
    return (
        torch.zeros(1, 3, 7).scatter_add(1, ROWS, x[:, 0]), torch.scatter(x, -1, few, x, reduce="add"),
        torch.scatter(x, 1, ones, 2.0, reduce="multiply"), counts.scatter_add(1, ROWS, x[:, 0].long()),
    )  # fmt: skip


def test_scatters_that_add_or_multiply_are_comparisons():
    rewrites = ["scatter_add_by_comparison", "scatter_reduce_by_comparison"]
    operators = assert_equal(scatters, IMAGE, rewrites)

    assert not any("scatter" in str(operator) for operator in operators)


def reductions(x):
    few, ones = torch.tensor([[[[1, 2], [0, 0]]]]), torch.ones(1, 4, 7)
    reduce = torch.scatter_reduce
    return tuple(
        result
        for how in ("amax", "amin", "sum", "prod", "mean")
        for result in (
            reduce(ones, 1, ROWS, x[:, 0], how),
            reduce(ones, 1, ROWS, x[:, 0], how, include_self=False),
            reduce(x, 3, few, x, how, include_self=False),
        )
    )


def test_scatters_reduce_with_and_without_what_was_there():
    assert_equal(reductions, IMAGE, ["scatter_reduce_by_comparison"])


def assignments(x):
    z = torch.zeros_like(x)
    z[x > 0] = 2.0
    z[:, (x > 0)[0, :, 0, 0]] = 7.0
    add, one = torch.ops.aten.index_put, torch.tensor(3.0)
    return (
        z, x.masked_scatter(x > 0, 2 * x), x.masked_scatter(x[:, :1] > 0, 2 * x),
        add(x, (None, torch.tensor([1, 1, -2])), x[:, :3], True),
        add(x, (torch.tensor([0, 0]), torch.tensor([1, 1])), one, True),
        add(x, (None, torch.tensor([1, 2]), None, torch.tensor([0, -1])), x[:, 0, :, 0], True),
        add(x, (torch.tensor(0), torch.tensor([[1], [2]]), torch.tensor([[0, 2]])), x[0, :2, :2], True),
        add((x * 9).long(), (None, torch.tensor([1, 1])), (x * 9).long()[:, :2], True),
        x.index_add(1, torch.tensor([1, 2, 1]), x[:, :3], alpha=2), add(x, (x > 1,), one, True),
    )  # fmt: skip


def test_assignments_that_add_and_those_by_masks_are_comparisons():
    operators = assert_equal(assignments, IMAGE, ["index_put_by_comparison", "masked_scatter_by_index"])

    assert torch.ops.aten.index_put.default not in operators


def test_assignments_that_overwrite_stay():
    def function(x):
        x = x.clone()
        x[:, torch.tensor([1, 3])] = x[:, :2] * 2
        return x

    assert torch.ops.aten.index_put.default in assert_equal(function, IMAGE, [])


class Convolutions(torch.nn.Module):
    """Convolutions over three dimensions, with groups."""

    def __init__(self):
        super().__init__()
        size, conv, transposed = (2, 3, 3), torch.nn.Conv3d, torch.nn.ConvTranspose3d
        self.layers = torch.nn.ModuleList(
            [
                conv(4, 8, size, groups=4, padding=1),
                conv(4, 8, size, groups=2, stride=(1, 2, 2), padding=(1, 0, 1), dilation=(2, 1, 1)),
                conv(4, 8, size, groups=4, stride=2, padding="valid", bias=False),
                conv(4, 8, size, groups=4, padding="same", padding_mode="replicate"),
                transposed(4, 8, size, groups=2, stride=2, padding=1, output_padding=1),
            ]
        )

    def forward(self, x):
        return [*(layer(x) for layer in self.layers), self.layers[0](x[0])]


def test_convolutions_over_three_dimensions_with_groups_are_sums_over_the_kernels_depth():
    assert_equal(Convolutions(), VIDEO, ["unsupported_convolution"])


#: Transposed convolutions with all that moves or pads their output, of any rank.
CUT = (
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 2, "stride": 3, "padding": 1},
    {"kernel_size": 4, "stride": 2, "padding": 4},
    {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
    {"kernel_size": 3, "stride": 2, "output_padding": 1},
    {"kernel_size": 3, "stride": 3, "padding": 2, "output_padding": 1, "groups": 2, "bias": False},
    {"kernel_size": 3, "stride": 2, "dilation": 2},
    {"kernel_size": 3, "stride": 2, "dilation": 2, "padding": 1, "output_padding": 1, "groups": 2},
)
OF_RANK = {
    1: ({"kernel_size": 2, "stride": 2, "groups": 2}, {"kernel_size": 4, "stride": 4, "groups": 4}),
    2: (
        {"kernel_size": 3, "stride": (2, 1), "padding": 1},
        {"kernel_size": (3, 5), "stride": (1, 2), "padding": (1, 3)},
        {"kernel_size": 3, "stride": (1, 3), "groups": 2},
        {"kernel_size": (4, 2), "stride": (1, 2), "padding": (2, 1), "groups": 2},
    ),
    3: (
        {"kernel_size": 2, "stride": 2},
        {"kernel_size": (2, 3, 3), "stride": (1, 2, 2), "padding": 1, "groups": 2},
    ),
}
SIGNALS_IMAGES_VIDEOS = {
    1: torch.nn.ConvTranspose1d,
    2: torch.nn.ConvTranspose2d,
    3: torch.nn.ConvTranspose3d,
}


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed_convolutions_are_cut_to_size_or_spread(rank):
    x = torch.randn(1, 4, *(5, 4, 4)[:rank], generator=torch.Generator().manual_seed(2))
    layers = [SIGNALS_IMAGES_VIDEOS[rank](4, 8, **options) for options in (*CUT, *OF_RANK[rank])]

    assert_equal(lambda x: [layer(x) for layer in layers], x, ["unsupported_convolution"])
    program, _ = applied(lambda x: [layer(x) for layer in layers], x)
    for node in lowering.rewritten(lowering.decompose(program))[0].graph.nodes:
        if node.target is torch.ops.aten.convolution.default and node.args[6]:
            _, padding, dilation, _, output_padding, _ = node.args[3:9]
            assert max(dilation) == 1
            assert not any((*padding, *output_padding))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": (4, 3), "stride": (2, 1), "padding": 1},
        {"kernel_size": 3, "stride": 2},
        {"kernel_size": 3, "stride": (1, 2), "groups": 2},
        {"kernel_size": 2, "stride": 2, "groups": 2},
        {"kernel_size": 3, "padding": 2, "dilation": 2},
    ],
)
def test_other_transposed_convolutions_stay(options):
    layer = torch.nn.ConvTranspose2d(4, 6, **options)

    assert torch.ops.aten.convolution.default in assert_equal(layer, IMAGE, [])


class Embeddings(torch.nn.Module):
    """Bags in all forms, and an embedding whose rows have a largest norm."""

    def __init__(self):
        super().__init__()
        self.bags = torch.nn.ModuleList([torch.nn.EmbeddingBag(9, 4, mode=m) for m in ("sum", "mean", "max")])
        self.limited = torch.nn.Embedding(9, 4, max_norm=0.7)
        self.register_buffer("offsets", torch.tensor([0, 3, 3, 20]))

    def forward(self, x):
        words = (x[0, 0] * 4).abs().long().clamp(max=8)
        flat, weight = words.flatten(), self.bags[0].weight
        return [
            *(bag(words) for bag in self.bags),
            *(F.embedding_bag(flat, weight, self.offsets, mode=bag.mode, padding_idx=1) for bag in self.bags),
            F.embedding_bag(words, weight, mode="sum", per_sample_weights=x[0, 1]),
            F.embedding_bag(flat, weight, self.offsets, mode="sum", include_last_offset=True),
            self.limited(words), F.one_hot(words, 9),
        ]  # fmt: skip


def test_bags_compare_indices_and_rows_are_cut_to_their_largest_norm():
    names = ["embedding_bag_by_comparison", "rows_of_limited_norm", "without_assertion"]

    assert_equal(Embeddings(), IMAGE, names)


class Products(torch.nn.Module):
    """Products that are no plain matrix products."""

    def __init__(self):
        super().__init__()
        self.bilinear = torch.nn.Bilinear(7, 5, 3)
        self.register_buffer("matrix", torch.arange(12.0).view(4, 3))

    def forward(self, x):
        equations = ("bchw,cd->bdhw", "bchw, cd -> hbwd")
        return [
            *(torch.einsum(equation, x, self.matrix) for equation in equations),
            torch.einsum("bchw,dc->bhdw", x, self.matrix.t()),
            self.bilinear(x, x[..., :5]),
        ]


def test_products_are_of_matrices():
    operators = assert_equal(Products(), IMAGE, ["product_with_matrix", "trilinear_product"])

    assert torch.ops.aten.einsum.default not in operators


def test_other_products_stay_an_einsum():
    def function(x):
        return (
            torch.einsum("bchw,wd->bchd", x, x[0, 0].t()), torch.einsum("bchw,cd->bdh", x, x[0, :, :, 0]),
            torch.einsum("bchw,bcdw->bchd", x, x), torch.einsum("...c,cd->...d", x, x[0, 0].t()),
        )  # fmt: skip

    assert torch.ops.aten.einsum.default in assert_equal(function, IMAGE, [], 1e-4)


ZEROS = torch.tensor([0.0, -0.0, 1.5, -1.5, float("nan"), float("inf"), float("-inf")])


def elementary(x):
    y = torch.where(x > 1, ZEROS, x.flip(-1))
    whole = (x * 3).round().long()
    return (
        torch.exp2(x), torch.erfc(x), torch.fmax(x, y), torch.fmin(x, y), torch.hypot(x, x * 2),
        torch.copysign(x, torch.where(y.isnan(), x, y)), torch.signbit(torch.where(y.isnan(), x, y)),
        torch.signbit(whole), torch.logical_xor(x > 0, y > 0), torch.logical_xor(whole, whole - 1),
        torch.dist(x, x * 2), torch.dist(x, x * 2, p=1), F.rrelu(x), (x > 0) ^ (x > 1),
        torch.erfinv(torch.tanh(3 * x)), torch.floor_divide(4 * x, x.abs() + 0.5),
    )  # fmt: skip


def test_elementary_operators_are_made_of_others():
    names = {
        "power_of_two", "complementary_error", "larger_number", "smaller_number", "hypotenuse", "sign_bit",
        "with_sign_of", "exclusive_or", "distance", "leaky_relu_of_mean_slope", "differing_bits",
        "inverse_error", "rounded_quotient",
    }  # fmt: skip
    wanted, results, _, applied = rewritten(elementary, IMAGE)

    assert set(applied) == names
    for one, other in zip(wanted, results, strict=True):
        torch.testing.assert_close(other, one, atol=2e-5, rtol=2e-5, equal_nan=True, check_stride=False)


class NamedPadding(torch.nn.Module):
    """Convolutions over one and three dimensions that keep the size, with odd and even kernels."""

    def __init__(self):
        super().__init__()
        signals, volumes = torch.nn.Conv1d, torch.nn.Conv3d
        self.of_signals = torch.nn.ModuleList(
            [
                signals(4, 8, 3, padding="same"),
                signals(4, 8, 4, padding="same", dilation=3, bias=False),
                signals(4, 8, 5, padding="same", groups=4),
                signals(4, 8, 3, padding="valid", stride=2),
            ]
        )
        self.of_volumes = torch.nn.ModuleList(
            [
                volumes(4, 8, 3, padding="same"),
                volumes(4, 8, (2, 3, 4), padding="same", dilation=(1, 2, 1)),
                volumes(4, 8, (2, 3, 3), padding="same", groups=2),
            ]
        )

    def forward(self, x):
        return [
            *(layer(x.flatten(2)) for layer in self.of_signals),
            *(layer(x) for layer in self.of_volumes),
        ]


def test_the_widths_of_padding_with_a_name_are_known():
    operators = assert_equal(NamedPadding(), VIDEO, ["unsupported_convolution"])

    assert not any("padding" in str(operator) for operator in operators)


def test_a_convolution_without_groups_and_a_plain_sum_are_not_touched():
    assert_equal(lambda x: F.conv3d(x, torch.ones(2, 4, 3, 3, 3)) + 1, VIDEO, [])


def test_an_expand_is_dropped_where_it_expands_nothing_or_its_user_broadcasts():
    def dropped(x):
        gate = x.mean((2, 3), True)
        both = gate.expand(-1, -1, *x.shape[2:]) * x.mean(1, True).expand(-1, x.shape[1], -1, -1)
        return (
            *(x * x.expand_as(x), x.expand(-1, -1, -1, -1) + 1, x * gate.expand_as(x), x - gate.expand_as(x)),
            *(torch.maximum(gate.broadcast_to(x.shape), x), x.clone().mul_(gate.expand_as(x)), both),
        )

    def kept(x):
        gate = x.mean((2, 3), True)
        used_twice = gate.expand_as(x)
        return used_twice + x, torch.cat([x, used_twice]), gate.expand_as(x) + gate

    for function, names, expands in ((dropped, ("needless_expand",), 0), (kept, (), 2)):
        program = torch.export.export(Network(function), (IMAGE,), strict=False)
        assert apply_rewrites(program) == names
        assert sum("expand" in str(node.target) for node in program.graph.nodes) == expands
        for result, wanted in zip(program.module()(IMAGE), function(IMAGE), strict=True):
            assert torch.equal(result, wanted)


def test_images_of_one_channel_get_the_strides_of_a_tensor_that_was_made_so():
    image = torch.zeros(1, 5, 6, 1)
    seen = []

    lowering.ChannelsLast(Network(lambda x: seen.append(x.stride()) or x))(image)

    assert seen == [torch.zeros(1, 1, 5, 6).stride()]


def swish(x):
    return x * torch.sigmoid(x)


def test_a_package_can_rewrite_an_operator():
    program = torch.export.export(Network(lambda x: F.silu(x) + 1), (IMAGE,), strict=False)
    rewrites = {**OPERATORS, torch.ops.aten.relu.default: swish, torch.ops.aten.silu.default: swish}

    program, names = rewrite_operators(program.run_decompositions({}), rewrites, {})

    assert names == ("swish",)
    torch.testing.assert_close(program.module()(IMAGE), F.silu(IMAGE) + 1)
