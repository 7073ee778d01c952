"""Indices of pools, pools beyond the end, and sampling of reflections are made of other operators."""

import pytest
import torch
from torch.nn import functional as F

from nnlite_conversion.pipeline.lowering.rewrites import apply_rewrites
from unit.conversion.rewriting import IMAGE, Network, assert_equal

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.process]

VIDEO = torch.randn(1, 4, 6, 7, 6, generator=torch.Generator().manual_seed(1))
SIGNAL = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(2))
TIES = IMAGE.round()


def assert_graph_rewritten(function, x, names):
    wanted = Network(function)(x)
    program = torch.export.export(Network(function), (x,), strict=False)

    assert apply_rewrites(program) == names
    assert torch.equal(program.module()(x), wanted)


def indices(pool, *arguments, **options):
    return lambda x: pool(x, *arguments, return_indices=True, **options)[1]


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (indices(F.max_pool2d, 2), IMAGE),
        (indices(F.max_pool2d, (2, 3), (1, 2)), TIES),
        (indices(F.max_pool2d, 3, 2, 1), TIES),
        (indices(F.max_pool2d, 3, 2, ceil_mode=True), IMAGE),
        (indices(F.max_pool2d, 3, 1, dilation=2), IMAGE),
        (indices(F.max_pool2d, 2), IMAGE[0]),
        (indices(F.max_pool1d, 3, 2, 1), SIGNAL),
        (indices(F.max_pool3d, 3, 2, 1), VIDEO.round()),
    ],
)
def test_indices_of_a_max_pool_are_those_of_the_first_largest_elements(function, x):
    assert_graph_rewritten(function, x, ("indices_of_max_pool",))


def test_a_pool_whose_indices_are_not_used_stays():
    assert_graph_rewritten(lambda x: F.max_pool2d(x, 2, return_indices=True)[0], IMAGE, ())


def unpooled(rank, kernel, **options):
    pool, unpool = getattr(F, f"max_pool{rank}d"), getattr(F, f"max_unpool{rank}d")

    def function(x):
        values, there = pool(x, kernel, return_indices=True, **options)
        return unpool(values * 2, there, kernel, output_size=x.shape[-rank:])

    return function


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (unpooled(1, 2), SIGNAL),
        (unpooled(2, (2, 1)), IMAGE),
        (unpooled(2, 3, ceil_mode=True), IMAGE),
        (unpooled(2, 3), IMAGE),
        (unpooled(2, 2), IMAGE[0]),
        (unpooled(3, 2), VIDEO),
    ],
)
def test_the_reversal_of_a_max_pool_compares_elements_with_the_indices_of_their_windows(function, x):
    assert_graph_rewritten(function, x, ("max_unpool_of_pool", "indices_of_max_pool"))


def test_the_reversal_of_overlapping_windows_stays():
    def function(x):
        values, there = F.max_pool2d(x, 3, 1, return_indices=True)
        return F.max_unpool2d(values, there, 3, 1)

    assert_graph_rewritten(function, IMAGE, ("indices_of_max_pool",))


def adaptive(x):
    rank = x.dim() - 2
    pool = getattr(F, f"adaptive_max_pool{rank}d")
    return tuple(
        result.contiguous()
        for size in ((2, 5, 4), (4, 1, 3), (6, 7, 6))
        for image in (x, x[0])
        for result in pool(image, size[:rank], return_indices=True)
    )


@pytest.mark.parametrize("x", [SIGNAL.round(), TIES, VIDEO.round()])
def test_indices_of_an_adaptive_pool_are_those_of_the_first_largest_elements(x):
    assert_equal(adaptive, x, ["adaptive_max_pool_by_index"], 0)


def averages(x):
    return (
        F.avg_pool3d(x, 3, 2, ceil_mode=True), F.avg_pool3d(x, (2, 3, 4), (3, 2, 2), 1, ceil_mode=True),
        F.avg_pool3d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        F.avg_pool3d(x[0], 4, ceil_mode=True), F.avg_pool3d(x, 4, 3, 1, ceil_mode=True, divisor_override=5),
    )  # fmt: skip


def test_averages_of_volumes_count_what_is_there():
    assert_equal(averages, VIDEO, ["average_within_volume"], 1e-6)


def test_averages_of_volumes_within_the_end_stay():
    assert_equal(lambda x: F.avg_pool3d(x, 2, ceil_mode=True), VIDEO[..., :6, :], [])


def adaptive_averages(x):
    sizes = ((2, 2, 2), (3, 7, 6), (None, 3, None), (2, 10, 1), 5)
    return *(F.adaptive_avg_pool3d(x, size) for size in sizes), F.adaptive_avg_pool3d(x[0], (4, 2, 3))


def test_adaptive_averages_of_volumes_have_windows_of_two_sizes():
    assert_equal(adaptive_averages, VIDEO, ["average_of_adaptive_windows"], 1e-6)


def test_adaptive_averages_of_volumes_with_equal_windows_stay():
    assert_equal(lambda x: F.adaptive_avg_pool3d(x, (3, 1, 2)), VIDEO, [])


#: Places on borders and between two elements.
SPECIAL = torch.tensor([-1.0, 1.0, 0.0, -3.0, 3.0, 0.5]).repeat(12)[:60].reshape(1, 5, 6, 2)
GRID = torch.cat([torch.rand(1, 5, 6, 2, generator=torch.Generator().manual_seed(3)) * 6 - 3, SPECIAL], 1)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_places_beyond_the_border_are_reflected(mode):
    def function(x):
        return tuple(
            F.grid_sample(image, GRID, mode=mode, padding_mode="reflection", align_corners=aligned)
            for image in (x, x[..., :2], x[..., :1, :])
            for aligned in (False, True)
        )

    assert_equal(function, IMAGE, ["sampled_within_reflections"], 1e-5)


def test_other_sampling_stays():
    assert_equal(lambda x: F.grid_sample(x, GRID, padding_mode="border", align_corners=False), IMAGE, [])
