"""Rewrites operators that order elements as comparisons of each element with each.

LiteRT has no sorting. An element's place in the order is the number of elements before it; of equal elements
the first comes first. Where there is NaN, results differ from PyTorch's.
"""

import torch

from nnlite_conversion.pipeline.lowering.rewrites.graph import require_few


def sort_by_comparison(
    x: torch.Tensor, dim: int = -1, descending: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `sort`."""
    return _ordered(x, dim, slice(None), descending=descending)


def stable_sort_by_comparison(
    x: torch.Tensor, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `sort` that keeps the order of equal elements, as the other does here."""
    return _ordered(x, dim, slice(None), descending=descending)


def topk_by_comparison(
    x: torch.Tensor, k: int, dim: int = -1, largest: bool = True, ordered: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `topk`."""
    return _ordered(x, dim, slice(k), descending=largest)


def kthvalue_by_comparison(
    x: torch.Tensor, k: int, dim: int = -1, keepdim: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `kthvalue`."""
    values, indices = _ordered(x, dim, slice(k - 1, k))
    return (values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim))


def median_by_comparison(
    x: torch.Tensor, dim: int, keepdim: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `median` of a dimension: of an even number of elements the lower one of the middle."""
    length = x.shape[dim] if x.dim() else 1
    return kthvalue_by_comparison(x, (length + 1) // 2, dim, keepdim)


def median_of_all_by_comparison(x: torch.Tensor) -> torch.Tensor:
    """Compute `median` of all elements."""
    return median_by_comparison(x.reshape(-1), 0)[0]


def mode_by_comparison(
    x: torch.Tensor, dim: int = -1, keepdim: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `mode`: of the most frequent values the smallest, and where it is last."""
    x = _last(x, dim)
    counts = (x.unsqueeze(-1) == x.unsqueeze(-2)).to(torch.int32).sum(-1, dtype=torch.int32)
    frequent = counts == counts.amax(-1, keepdim=True)
    value = torch.where(frequent, x, x.amax(-1, keepdim=True)).amin(-1, keepdim=True)
    index = torch.where(x == value, torch.arange(x.shape[-1]), -1).amax(-1, keepdim=True)
    value, index = value.movedim(-1, dim), index.movedim(-1, dim)
    return (value, index) if keepdim else (value.squeeze(dim), index.squeeze(dim))


def cummax_by_comparison(x: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `cummax`."""
    return _extremes(x, dim, largest=True)


def cummin_by_comparison(x: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `cummin`."""
    return _extremes(x, dim, largest=False)


def cumprod_of_all_before(x: torch.Tensor, dim: int, *, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Compute `cumprod` as the products of all elements up to each."""
    x = _last(x if dtype is None else x.to(dtype), dim)
    result = torch.where(_up_to(x), x.unsqueeze(-2), 1).prod(-1)
    return result.to(x.dtype).movedim(-1, dim)


def logcumsumexp_of_all_before(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Compute `logcumsumexp` as the `logsumexp` of all elements up to each."""
    x = _last(x, dim)
    up_to = _up_to(x)
    before = _elements_up_to(x, up_to)
    highest = before.amax(-1)
    sums = torch.where(up_to, (before - highest.unsqueeze(-1)).exp(), 0).sum(-1)
    return (sums.log() + highest).movedim(-1, dim)


def bucketize_by_comparison(
    x: torch.Tensor, boundaries: torch.Tensor, *, out_int32: bool = False, right: bool = False
) -> torch.Tensor:
    """Compute `bucketize`."""
    return searchsorted_by_comparison(boundaries, x, out_int32=out_int32, right=right)


def searchsorted_by_comparison(
    boundaries: torch.Tensor,
    x: torch.Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute `searchsorted` as the number of boundaries below each element."""
    if sorter is not None:
        return NotImplemented
    _limit(x.numel() * boundaries.shape[-1])
    places, values = boundaries.unsqueeze(-2), x.unsqueeze(-1)
    below = places <= values if right or side == "right" else places < values
    return below.to(torch.int32).sum(-1, dtype=torch.int32).to(torch.int32 if out_int32 else torch.int64)


def _ordered(
    x: torch.Tensor, dim: int, wanted: slice, *, descending: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the elements at the wanted places of the order, and their indices."""
    if not x.dim():
        return x.clone(), torch.zeros_like(x, dtype=torch.int64)
    x = _last(x, dim)
    length = x.shape[-1]
    one, other = x.unsqueeze(-1), x.unsqueeze(-2)
    numbers = torch.arange(length)
    before = other > one if descending else other < one
    before = before | ((other == one) & (numbers < numbers.unsqueeze(-1)))
    places = before.to(torch.int32).sum(-1, dtype=torch.int32)
    hits = places.unsqueeze(-2) == torch.arange(length, dtype=torch.int32)[wanted].unsqueeze(-1)
    values = torch.where(hits, other, 0).sum(-1).to(x.dtype)
    indices = torch.where(hits, numbers, 0).sum(-1)
    return values.movedim(-1, dim), indices.movedim(-1, dim)


def _extremes(x: torch.Tensor, dim: int, *, largest: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the extreme element up to each, and the last index that has it."""
    if not x.dim():
        return x.clone(), torch.zeros_like(x, dtype=torch.int64)
    x = _last(x, dim)
    up_to = _up_to(x)
    before = _elements_up_to(x, up_to)
    values = before.amax(-1) if largest else before.amin(-1)
    hits = up_to & (before == values.unsqueeze(-1))
    indices = torch.where(hits, torch.arange(x.shape[-1]), -1).amax(-1)
    return values.movedim(-1, dim), indices.movedim(-1, dim)


def _last(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Return `x` with dimension `dim` last, if its elements are not too many."""
    _limit(x.numel() * (x.shape[dim] if x.dim() else 1))
    return x.movedim(dim, -1) if x.dim() else x


def _up_to(x: torch.Tensor) -> torch.Tensor:
    """Return which elements (last dimension) are not behind which place (second to last)."""
    numbers = torch.arange(x.shape[-1])
    return numbers <= numbers.unsqueeze(-1)


def _elements_up_to(x: torch.Tensor, up_to: torch.Tensor) -> torch.Tensor:
    """Return the elements up to each place; behind it its own element, which changes no extreme."""
    return torch.where(up_to, x.unsqueeze(-2), x.unsqueeze(-1))


def _limit(comparisons: int) -> None:
    require_few(comparisons, "ordering elements", "order fewer, or end the network before it")
