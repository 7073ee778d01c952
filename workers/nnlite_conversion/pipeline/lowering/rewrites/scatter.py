"""Rewrites scatters that add or reduce as comparisons of indices.

An element of the result takes from every source whose index equals its own place. LiteRT's own scatter only
runs those that overwrite.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

from nnlite_conversion.pipeline.lowering.rewrites.graph import require_few

aten = torch.ops.aten


def scatter_add_by_comparison(
    x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor
) -> torch.Tensor:
    """Compute `scatter_add`."""
    return scatter_reduce_by_comparison(x, dim, index, source, "sum")


def scatter_reduce_by_comparison(
    x: torch.Tensor, dim: int, index: torch.Tensor, source: Any, reduce: str, *, include_self: bool = True
) -> torch.Tensor:
    """Compute `scatter_reduce` and the variants of `scatter` that reduce."""
    hits, source = _hits(x, dim, index, source)
    if not isinstance(source, torch.Tensor):
        source = torch.full_like(index, source, dtype=x.dtype).movedim(dim, -1)
    source = source.unsqueeze(-1)
    found, before = hits.any(-2), _region(x, dim, index)
    if reduce in ("sum", "add", "mean"):
        result = torch.where(hits, source, 0).sum(-2)
        result = before + result if include_self else result
        if reduce == "mean":
            count = hits.to(x.dtype).sum(-2) + (1 if include_self else 0)
            result = result / count.clamp(min=1)
            result = result if x.is_floating_point() else result.floor().to(x.dtype)
    elif reduce in ("prod", "multiply"):
        result = torch.where(hits, source, 1).prod(-2)
        result = before * result if include_self else result
    else:
        most = reduce == "amax"
        bounds = torch.finfo(x.dtype) if x.is_floating_point() else torch.iinfo(torch.int32)
        outside = torch.where(hits, source, bounds.min if most else bounds.max)
        result = outside.amax(-2) if most else outside.amin(-2)
        if include_self:
            result = torch.maximum(before, result) if most else torch.minimum(before, result)
    return _placed(x, dim, index, found, result.to(x.dtype))


def index_put_by_comparison(
    x: torch.Tensor, indices: Sequence[torch.Tensor | None], values: torch.Tensor, accumulate: bool = False
) -> torch.Tensor:
    """Compute `x[indices] += values` and, where the index is a mask, `x[mask] = number`."""
    if any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices):
        return _masked(x, indices, values, accumulate)
    if not accumulate:
        return NotImplemented
    dims = [dim for dim, index in enumerate(indices) if index is not None]
    places = torch.broadcast_tensors(*(index for index in indices if index is not None))
    others = [dim for dim in range(x.dim()) if dim not in dims]
    size = math.prod(x.shape[dim] for dim in dims)
    flat = _linear(x, dims, places)
    _limit(flat.numel() * size)
    # Indexed dimensions first, as one; then the others, as one.
    rows = x.permute(*dims, *others).reshape(size, -1)
    picked = places[0].dim()
    adjacent = dims == list(range(dims[0], dims[-1] + 1))
    first = dims[0] if adjacent else 0
    remaining = [x.shape[dim] for dim in others]
    values = values.expand([*remaining[:first], *places[0].shape, *remaining[first:]])
    order = [*range(first, first + picked), *range(first), *range(first + picked, values.dim())]
    sources = values.permute(order).reshape(flat.numel(), -1)
    hits = flat.reshape(-1, 1) == torch.arange(size)
    result = rows + _product(hits, sources)
    back = [[*dims, *others].index(dim) for dim in range(x.dim())]
    return result.reshape([x.shape[dim] for dim in (*dims, *others)]).permute(back)


def masked_scatter_by_index(x: torch.Tensor, mask: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Compute `masked_scatter`: the n-th true element of the mask takes the n-th element of the source."""
    x, mask = torch.broadcast_tensors(x, mask)
    number = mask.reshape(-1).to(torch.int32).cumsum(0, dtype=torch.int32) - 1
    taken = source.reshape(-1)[number.clamp(min=0)].reshape(x.shape)
    return torch.where(mask, taken, x)


def _product(hits: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
    """Return for each place the sum of the sources that hit it."""
    if sources.is_floating_point():
        return hits.t().to(sources.dtype) @ sources
    return torch.where(hits.unsqueeze(-1), sources.unsqueeze(1), 0).sum(0).to(sources.dtype)


def _masked(
    x: torch.Tensor, indices: Sequence[torch.Tensor | None], values: torch.Tensor, accumulate: bool
) -> torch.Tensor:
    """Set one number where a mask is true; with other values the result's shape depends on the mask."""
    (mask, *others) = [index for index in indices if index is not None]
    if others or not statically_known_true(values.numel() == 1):
        return NotImplemented
    first = next(dim for dim, index in enumerate(indices) if index is not None)
    mask = mask.to(torch.bool).reshape(*mask.shape, *[1] * (x.dim() - first - mask.dim()))
    value = values.reshape([1] * x.dim()) if x.dim() else values.reshape(())
    return torch.where(mask, x + value if accumulate else value.to(x.dtype), x)


def _linear(x: torch.Tensor, dims: Sequence[int], places: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the places in several dimensions as places in one; negative ones count from the end."""
    flat: Any = 0
    for dim, place in zip(dims, places, strict=True):
        flat = flat * x.shape[dim] + torch.where(place < 0, place + x.shape[dim], place)
    return flat


def _hits(
    x: torch.Tensor, dim: int, index: torch.Tensor, source: Any
) -> tuple[torch.Tensor, torch.Tensor | Any]:
    """Return which source (second to last dimension) hits which place (last), and the sources it is about."""
    _limit(index.numel() * x.shape[dim])
    hits = index.movedim(dim, -1).unsqueeze(-1) == torch.arange(x.shape[dim])
    if isinstance(source, torch.Tensor):
        for each, length in enumerate(index.shape):
            source = source.narrow(each, 0, length) if source.shape[each] != length else source
        source = source.movedim(dim, -1)
    return hits, source


def _region(x: torch.Tensor, dim: int, index: torch.Tensor) -> torch.Tensor:
    """Return the part of `x` that the index reaches, with `dim` last."""
    for each, length in enumerate(index.shape):
        if each != dim % x.dim() and x.shape[each] != length:
            x = x.narrow(each, 0, length)
    return x.movedim(dim, -1)


def _placed(
    x: torch.Tensor, dim: int, index: torch.Tensor, found: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    """Return `x` with `values`, whose dimension `dim` is last, where `found`."""
    missing = [
        0 if each == dim % x.dim() else x.shape[each] - length for each, length in enumerate(index.shape)
    ]
    found, values = found.movedim(-1, dim), values.movedim(-1, dim)
    if any(missing):
        widths = [width for each in reversed(missing) for width in (0, each)]
        found = aten.constant_pad_nd(found.to(torch.int32), widths) > 0
        values = aten.constant_pad_nd(values, widths)
    return torch.where(found, values, x)


def _limit(comparisons: int) -> None:
    require_few(comparisons, "a scatter", "scatter into fewer places")
