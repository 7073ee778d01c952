"""Sorts, searches, cumulative extremes, and operators of integers are rewritten. Nothing is lowered here."""

import pytest
import torch

from nnlite_conversion.pipeline.lowering.rewrites import ordering
from nnlite_conversion.pipeline.lowering.rewrites.graph import MAX_COMPARISONS, TooLarge
from unit.conversion.rewriting import IMAGE, assert_equal

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.process]

ROWS = torch.randn(3, 8, generator=torch.Generator().manual_seed(3))


def orders(x):
    equal = (x * 2).round()
    return (
        *torch.sort(x), *torch.sort(x, 0, descending=True), *torch.sort(equal, stable=True), torch.argsort(x),
        torch.msort(x), torch.sort((x * 9).long())[0], torch.quantile(x, 0.3, dim=1), *torch.topk(x, 3),
        *torch.topk(x, 2, 0, largest=False), torch.topk(equal, 8)[0], *torch.kthvalue(x, 3, 0),
        *torch.kthvalue(x, 3, 1, keepdim=True), *torch.median(x, 0), torch.median(x, 1)[0], torch.median(x),
        torch.mode(equal, 1)[0], *torch.sort(x.sum()),
    )  # fmt: skip


def test_an_elements_place_in_the_order_is_the_number_of_elements_before_it():
    names = "sort stable_sort topk kthvalue median median_of_all mode"
    operators = assert_equal(orders, ROWS, [f"{name}_by_comparison" for name in names.split()])

    assert not {"sort", "topk", "kthvalue", "median", "mode"} & {
        str(each).split(".")[1] for each in operators if str(each).startswith("aten.")
    }


def cumulative(x):
    equal = (x * 2).round()
    return (
        *torch.cummax(x, 1), *torch.cummax(equal, 0), *torch.cummin(equal, 0), *torch.cummin(x.sum(), 0),
        torch.cumprod(x, 1), torch.cumprod(x, 0), torch.logcumsumexp(x, 0), torch.logcumsumexp(40 * x, 1),
    )  # fmt: skip


def test_cumulative_operators_see_all_elements_up_to_each():
    names = ["cummax_by_comparison", "cummin_by_comparison"]
    names += ["cumprod_of_all_before", "logcumsumexp_of_all_before"]

    assert_equal(cumulative, ROWS, names)


def searches(x):
    bounds, rows, equal = torch.tensor([-1.0, 0.0, 0.5, 0.5]), x.sort(1)[0], (2 * x).round() / 2
    return (
        torch.bucketize(x, bounds), torch.bucketize(equal, bounds, right=True),
        torch.searchsorted(bounds, equal), torch.searchsorted(rows, x, right=True),
        torch.searchsorted(rows, x, side="left", out_int32=True),
    )  # fmt: skip


def test_a_search_counts_the_boundaries_below():
    names = "bucketize searchsorted sort"
    assert_equal(searches, ROWS, [f"{name}_by_comparison" for name in names.split()], 0)


def test_more_elements_than_can_be_compared_are_an_error_with_their_number():
    length = int(MAX_COMPARISONS**0.5) + 1

    with pytest.raises(TooLarge, match=f"ordering elements takes {length**2:,} comparisons"):
        ordering.sort_by_comparison(torch.zeros(length))


def integers(x):
    long, other = (x * 9).long(), (x.flip(0) * 5).long()
    other = torch.where(other == 0, 1, other)
    pairs = ((long, other), (long.int(), other.int()), (long, 3), (long.int(), -2))
    quotients = [
        result
        for a, b in pairs
        for result in (
            torch.div(a, b, rounding_mode="trunc"), torch.div(a, b, rounding_mode="floor"),
            torch.fmod(a, b), a % b, a // b,
        )
    ]  # fmt: skip
    return (
        *quotients, long.abs(), long.int().abs(), torch.sign(long), long**3, long.int() ** 2,
        long << 2, long >> 2, long.int() >> 1, ~long, long & 7, long.int() & 1,
    )  # fmt: skip


def test_operators_of_integers_are_made_of_those_that_litert_has():
    names = [
        "absolute_of_integers", "sign_of_integers", "power_of_integers", "left_shift_as_product",
        "right_shift_as_quotient", "rounded_quotient", "remainder_of_truncated_quotient",
        "complement", "common_bits",
    ]  # fmt: skip

    assert_equal(integers, ROWS, names, 0)


def bits(x):
    long, other = (x * 1e9).long(), (x.flip(0) * 1e9).long()
    pairs = (
        (long, other), (long.int(), other.int()), (long, 5), (long.int(), -70000), (long, other.int()),
        ((x * 9).to(torch.int8), (x.flip(0) * 9).to(torch.int8)),
    )  # fmt: skip
    return tuple(result for a, b in pairs for result in (a & b, a | b, a ^ b))


def test_operators_on_bits_are_made_of_exclusive_or():
    assert_equal(bits, ROWS, ["common_bits", "any_bits", "differing_bits"], 0)


def test_other_powers_stay():
    assert_equal(lambda x: (x**2, x.abs(), torch.sign(x)), IMAGE, [], 0)


def quotients(x):
    tenths = (x * 100).round() * 0.1  # of which a third are multiples of the divisor, but for rounding
    steps = torch.tensor([0.3, -0.3, 0.0, 7.0, 0.1, -0.1, 3.0])
    return tenths // 0.3, tenths // steps, tenths // -0.1, torch.fmod(tenths, 0.3), torch.fmod(tenths, -0.3)


def test_floored_quotients_and_remainders_of_floats_are_exact():
    assert_equal(quotients, IMAGE, ["rounded_quotient", "remainder_of_truncated_quotient"], 0)


def bytes_of(x):
    small = (x * 9).to(torch.int8)
    few = (x.abs() * 9).to(torch.uint8)
    return (
        small == 3, small != small.flip(0), small < few.to(torch.int8), few >= 2, few > few.flip(0),
        small <= -1, torch.eye(4), torch.eye(2, 5, dtype=torch.int64), ~small,
    )  # fmt: skip


def test_bytes_are_compared_as_integers_of_32_bits():
    operators = assert_equal(bytes_of, ROWS, ["compared_bytes", "arange_of_bytes", "complement"], 0)

    assert torch.ops.aten.bitwise_not.default not in operators


def test_other_comparisons_and_masks_stay():
    assert_equal(lambda x: (x > 1, x.int() == 2, (x > 0) & (x < 1), torch.arange(8) + x), ROWS, [], 0)
