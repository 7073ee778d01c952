"""Rewrites adaptive pooling, pooling whose indices are used, and averages of windows beyond the end.

More than 300 lines: what windows are, along one dimension, is the same for all.

litert-torch does not lower the first, but for averages whose windows are equal or over two dimensions; it
returns other indices, and counts elements that are not there.
"""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from nnlite_conversion.pipeline.lowering.rewrites.graph import call, constant, inline, node_by_node, shape_of

aten = torch.ops.aten

_ADAPTIVE_POOLS = (
    aten.adaptive_max_pool1d.default,
    aten.adaptive_max_pool2d.default,
    aten.adaptive_max_pool3d.default,
)
#: By the number of dimensions in space.
_POOLS = {
    aten.max_pool1d_with_indices.default: 1,
    aten.max_pool2d_with_indices.default: 2,
    aten.max_pool3d_with_indices.default: 3,
}
_UNPOOLS = (aten.max_unpool2d.default, aten.max_unpool3d.default)


@dataclass(frozen=True)
class _Windows:
    """Windows of a pool along one dimension."""

    size: int
    count: int
    kernel: int
    stride: int
    padding: int = 0
    dilation: int = 1

    @property
    def missing(self) -> int:
        """How far the last window reaches beyond the padded input."""
        reach = (self.count - 1) * self.stride + self.dilation * (self.kernel - 1) + 1
        return max(0, reach - self.size - self.padding)

    @property
    def disjoint(self) -> bool:
        """Whether they lie side by side from the first element on."""
        return self.stride == self.kernel and self.padding == 0 and self.dilation == 1

    def divisors(self, count_include_pad: bool) -> np.ndarray[Any, Any]:
        """Return for each window how many elements its average counts."""
        starts = np.arange(self.count) * self.stride - self.padding
        beyond = self.padding if count_include_pad else 0
        return np.minimum(starts + self.kernel, self.size + beyond) - np.maximum(starts, -beyond)


#: Of a dimension that is not pooled.
_SINGLE = _Windows(1, 1, 1, 1)


@node_by_node
def adaptive_max_pool2d(graph: torch.fx.Graph, node: torch.fx.Node) -> torch.fx.Node | None:
    """Replace adaptive max pooling over one to three dimensions by operators that can be lowered.

    Where the output size divides the input size it becomes `max_pool2d`. Otherwise the windows differ in
    size, floor(i * n / m) to ceil((i + 1) * n / m) for output i of m over n elements, and each dimension in
    turn becomes slices and `amax`: the maximum of a rectangle is the maximum of its columns' maxima. Nodes
    whose indices are used are rewritten behind decomposition.
    """
    if node.target not in _ADAPTIVE_POOLS:
        return None
    shape, sizes = shape_of(node.args[0]), _output_sizes(node.args[1])
    if shape is None or not _only_values_used(node):
        return None
    pooled = _adaptive_pool(graph, node.args[0], shape, sizes)
    for part in list(node.users):
        part.replace_all_uses_with(pooled)
        graph.erase_node(part)
    return pooled


def _only_values_used(node: torch.fx.Node) -> bool:
    """Whether the second result, the indices, is unused; the graph unpacks it in any case."""
    return all(
        part.target is operator.getitem and (part.args[1] == 0 or not part.users) for part in node.users
    )


def _output_sizes(argument: object) -> tuple[int, ...]:
    return tuple(argument) if isinstance(argument, list | tuple) else (int(str(argument)),)


def _adaptive_pool(
    graph: torch.fx.Graph, node: torch.fx.Node, shape: tuple[int, ...], sizes: tuple[int, ...]
) -> torch.fx.Node:
    windows = [divmod(size, pooled) for size, pooled in zip(shape[-len(sizes) :], sizes, strict=True)]
    if len(sizes) == 2 and len(shape) == 4 and all(rest == 0 for _, rest in windows):
        kernel = [size for size, _ in windows]
        return call(graph, aten.max_pool2d.default, node, kernel, kernel)
    for dimension, pooled in enumerate(sizes, start=len(shape) - len(sizes)):
        node = _pool_dimension(graph, node, dimension, shape[dimension], pooled)
    return node


def _pool_dimension(
    graph: torch.fx.Graph, node: torch.fx.Node, dimension: int, size: int, pooled: int
) -> torch.fx.Node:
    if pooled == size:
        return node
    maxima = []
    for start, end in _adaptive_windows(size, pooled):
        window = call(graph, aten.slice.Tensor, node, dimension, start, end)
        maxima.append(call(graph, aten.amax.default, window, [dimension], True))
    return call(graph, aten.cat.default, maxima, dimension) if len(maxima) > 1 else maxima[0]


def _adaptive_windows(size: int, pooled: int) -> list[tuple[int, int]]:
    """Return where the window of each element of an adaptive pool starts and ends."""
    return [(index * size // pooled, math.ceil((index + 1) * size / pooled)) for index in range(pooled)]


def adaptive_max_pool_by_index(
    x: torch.Tensor, output_size: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute adaptive max pooling whose indices are used: those of the first largest elements.

    One dimension after the other, the first elements of all windows are compared with the second, and so on.
    """
    sizes = x.shape[-len(output_size) :]
    best, index = x, torch.arange(math.prod(sizes)).reshape(sizes)
    for dimension, (size, pooled) in enumerate(zip(sizes[::-1], output_size[::-1], strict=True), start=1):
        windows = _adaptive_windows(size, pooled)
        places = [
            constant(np.array([min(start + number, end - 1) for start, end in windows]))
            for number in range(max(end - start for start, end in windows))
        ]
        (best, index), *others = [
            (best.index_select(-dimension, each), index.index_select(-dimension, each)) for each in places
        ]
        for other, of_other in others:
            index = torch.where(other > best, of_other, index)
            best = torch.maximum(best, other)
    return best, index.expand(best.shape)


def average_of_adaptive_windows(x: torch.Tensor, output_size: Sequence[int]) -> torch.Tensor:
    """Compute `adaptive_avg_pool3d` whose windows differ in size, one dimension after the other."""
    numbers = list(zip(x.shape[-3:], output_size, strict=True))
    equal = [size // pooled if size % pooled == 0 else 1 for size, pooled in numbers]
    if all(size == kernel * pooled for kernel, (size, pooled) in zip(equal, numbers, strict=True)):
        return NotImplemented
    if any(kernel > 1 for kernel in equal):
        x = functional.avg_pool3d(x, equal, equal)
    for dimension, (size, pooled) in enumerate(numbers, start=-3):
        if size % pooled:
            windows = _adaptive_windows(size, pooled)
            means = [x.narrow(dimension, start, end - start).mean(dimension, True) for start, end in windows]
            x = torch.cat(means, dimension)
    return x


@node_by_node
def max_unpool_of_pool(graph: torch.fx.Graph, node: torch.fx.Node) -> torch.fx.Node | None:
    """Replace the reversal of max pooling: each element is compared with the index of its window.

    Where the indices are those of a max pool whose windows do not overlap, over as many elements as there are
    in the result.
    """
    if node.target not in _UNPOOLS or (windows := _windows_behind(*node.args[1:3])) is None:
        return None
    return inline(graph, partial(_unpooled, windows=windows), *node.args[:2])


@node_by_node
def indices_of_max_pool(graph: torch.fx.Graph, node: torch.fx.Node) -> torch.fx.Node | None:
    """Replace the indices of max pooling, where they are used, by those of the first largest elements."""
    is_second = node.target is operator.getitem and node.args[1] == 1
    if not is_second or not node.users or (windows := _windows(node.args[0])) is None:
        return None
    return inline(graph, partial(_indices, windows=windows), node.args[0].args[0])


def average_within_volume(  # noqa: PLR0917  (the parameters of the operator)
    x: torch.Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> torch.Tensor:
    """Compute `avg_pool3d` whose last windows reach beyond the padded input."""
    kernel, padding = _each(kernel_size, 3), _each(padding, 3)
    stride = _each(stride, 3) if stride else kernel
    numbers = zip(x.shape[-3:], kernel, stride, padding, strict=True)
    windows = [_Windows(n, _rounded_up(n, k, s, p), k, s, p) for n, k, s, p in numbers]
    if not ceil_mode or not any(each.missing for each in windows):
        return NotImplemented
    averages = functional.avg_pool3d(_padded(x, windows, 0.0), kernel, stride)
    divisors = reduce(np.multiply.outer, [each.divisors(count_include_pad) for each in windows])
    scales = math.prod(kernel) / (np.full_like(divisors, divisor_override) if divisor_override else divisors)
    return averages * constant(scales, averages)


def _rounded_up(size: int, kernel: int, stride: int, padding: int) -> int:
    """Return the number of windows with `ceil_mode`: the last one begins before the padding at the end."""
    count = -(-(size + 2 * padding - kernel) // stride) + 1
    return count - ((count - 1) * stride >= size + padding)


def _windows(pool: object) -> list[_Windows] | None:
    """Return the windows of a max pool of floats, whose sizes are known; None: it is none."""
    if not isinstance(pool, torch.fx.Node) or pool.target not in _POOLS:
        return None
    shape, rank = shape_of(pool.args[0]), _POOLS[pool.target]
    pooled = pool.meta["val"][0]
    if shape is None or not pooled.is_floating_point():
        return None
    kernel, *given = [_each(argument, rank) for argument in pool.args[1:5]]
    defaults = [kernel, [0] * rank, [1] * rank]
    options = [
        *(each or default for each, default in zip(given, defaults, strict=False)),
        *defaults[len(given) :],
    ]
    numbers = zip(shape[-rank:], pooled.shape[-rank:], kernel, *options, strict=True)
    return [_Windows(*each) for each in numbers]


def _each(argument: Any, rank: int) -> list[int]:
    numbers = list(argument) if isinstance(argument, list | tuple) else [argument]
    return numbers * rank if len(numbers) == 1 else numbers


def _windows_behind(indices: Any, sizes: Sequence[int]) -> list[_Windows] | None:
    """Return the windows that indices into results of `sizes` come from, if they do not overlap."""
    while indices.target is aten.unsqueeze.default:
        indices = indices.args[0]  # over one dimension PyTorch adds another, of one element
    windows = _windows(indices.args[0]) if indices.target is operator.getitem else None
    if windows is None:
        return None
    windows += [_SINGLE] * (len(sizes) - len(windows))
    fit = [each.size for each in windows] == list(sizes) and all(each.disjoint for each in windows)
    return windows if fit else None


def _indices(x: torch.Tensor, windows: list[_Windows]) -> torch.Tensor:
    """Return the indices of a max pool: of the first row with the largest element, the first such element."""
    best, index = _padded(x, windows, -math.inf), None
    for dimension, (each, step) in enumerate(zip(windows[::-1], _steps(windows)[::-1], strict=True), start=1):
        best, *others = _elements(best, -dimension, each)
        offsets = [number * each.dilation * step for number in range(each.kernel)]
        if index is None:
            index, *indices = torch.zeros_like(best, dtype=torch.int64), *offsets[1:]
        else:
            index, *indices = map(operator.add, _elements(index, -dimension, each), offsets)
        for other, of_other in zip(others, indices, strict=True):
            index = torch.where(other > best, of_other, index)
            best = torch.maximum(best, other)
    starts = [torch.arange(each.count) * each.stride - each.padding for each in windows]
    return index + _flat(starts, windows)


def _unpooled(values: torch.Tensor, indices: torch.Tensor, windows: list[_Windows]) -> torch.Tensor:
    """Return the elements of a max pool at their indices among zeros."""
    for dimension, each in enumerate(windows[::-1], start=1):
        values, indices = (_repeated(tensor, -dimension, each) for tensor in (values, indices))
    places = _flat([torch.arange(min(each.size, each.count * each.kernel)) for each in windows], windows)
    result = torch.where(indices == places, values, 0.0)
    left_out = [
        each.size - covered for each, covered in zip(windows, result.shape[-len(windows) :], strict=True)
    ]
    return functional.pad(result, [width for rest in left_out[::-1] for width in (0, rest)])


def _padded(x: torch.Tensor, windows: Sequence[_Windows], value: float) -> torch.Tensor:
    widths = [width for each in windows[::-1] for width in (each.padding, each.missing)]
    return functional.pad(x, widths, value=value) if any(widths) else x


def _elements(x: torch.Tensor, dimension: int, windows: _Windows) -> list[torch.Tensor]:
    """Return the first element of each window, the second of each, and so on."""
    reach = (windows.count - 1) * windows.stride + 1
    starts = range(0, windows.kernel * windows.dilation, windows.dilation)
    return [aten.slice.Tensor(x, dimension, start, start + reach, windows.stride) for start in starts]


def _repeated(x: torch.Tensor, dimension: int, windows: _Windows) -> torch.Tensor:
    """Return a tensor with the value of each window for each of its elements."""
    before, after = x.shape[:dimension], x.shape[x.dim() + dimension + 1 :]
    parts = x.reshape(-1, windows.count, 1, math.prod(after)).expand(-1, -1, windows.kernel, -1)
    repeated = parts.reshape(*before, windows.count * windows.kernel, *after)
    return repeated.narrow(dimension, 0, min(windows.size, windows.count * windows.kernel))


def _steps(windows: Sequence[_Windows]) -> list[int]:
    """Return how far two neighbours along each dimension are apart in the flat input."""
    return [math.prod(each.size for each in windows[place:]) for place in range(1, len(windows) + 1)]


def _flat(places: Sequence[torch.Tensor], windows: Sequence[_Windows]) -> torch.Tensor:
    """Return the places in the flat input, from the places along each dimension."""
    products = [place * step for place, step in zip(places, _steps(windows), strict=True)]
    return reduce(lambda rows, row: rows[..., None] + row, products)
