"""Rewrites of operators on tensors of more dimensions than LiteRT's kernels take, by joining dimensions.

LiteRT computes elementwise operators, reductions and joins on up to six dimensions, and some of them on five.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch.fx import Graph
from torch.utils._pytree import tree_leaves, tree_map

from nnlite_conversion.pipeline.lowering.aten_operators import aten_name
from nnlite_conversion.pipeline.lowering.rewrites.shapes import as_three

aten = torch.ops.aten

#: Most dimensions of operators, and of those in `_OF_FIVE`.
_MOST, _FIVE = 6, 5
_OF_FIVE: Final = frozenset(
    {"relu", "clamp", "clamp_min", "clamp_max", "maximum", "minimum", "pow", "hardtanh", "prelu"}
)
#: Elementwise operators that LiteRT computes of any number of dimensions.
_OF_ANY: Final = frozenset(
    {
        "tanh", "exp", "log", "sin", "cos", "abs", "sqrt", "rsqrt", "gelu", "hardswish", "round", "floor",
        "ceil", "sign", "remainder", "isnan", "bitwise_and", "bitwise_or", "bitwise_not", "logical_and",
        "logical_or", "logical_not", "masked_fill", "eq", "ne", "gt", "ge", "lt", "le", "_to_copy",
        "clone", "copy",
    }
)  # fmt: skip
#: Operators that LiteRT computes of tensors of one shape of any number of dimensions.
_OF_ONE_SHAPE: Final = frozenset({"add", "sub", "mul", "div", "maximum", "minimum", "pow", "where"})
_REDUCTIONS: Final = frozenset(
    {
        aten.sum.dim_IntList, aten.mean.dim, aten.amax.default, aten.amin.default, aten.var.correction,
        aten.linalg_vector_norm.default,
    }
)  # fmt: skip
_ALONG: Final = frozenset(
    {
        aten._softmax.default, aten._log_softmax.default, aten.max.dim, aten.min.dim,
    }
)  # fmt: skip
#: Operators that are not computed of tensors of more than `_MOST` dimensions.
_NOT_REWRITTEN: Final = frozenset({aten.scatter.src, aten.scatter.value})


def on_fewer_dimensions(graph: Graph) -> dict[Any, Callable[..., Any]]:
    """Return the rewrites of the operators in a decomposed graph that compute tensors of many dimensions."""
    return {
        node.target: found
        for node in graph.nodes
        if node.op == "call_function" and _rank(node) >= _FIVE and (found := _rewrite(node.target))
    }


def too_many_dimensions(graph: Graph) -> list[torch.fx.Node]:
    """Return the nodes of a rewritten graph whose tensors have more dimensions than LiteRT takes."""
    return [node for node in graph.nodes if node.target in _NOT_REWRITTEN and _rank(node) > _MOST]


def _rank(node: torch.fx.Node) -> int:
    values = tree_leaves([each.meta.get("val") for each in (node, *node.all_input_nodes)])
    return max((value.dim() for value in values if isinstance(value, torch.Tensor)), default=0)


def _rewrite(operator: Any) -> Any:
    if operator in _REDUCTIONS:
        return _reducing(operator)
    if operator in _ALONG:
        return _along(operator)
    if operator in _OTHERS:
        return _OTHERS[operator]
    is_elementwise = isinstance(operator, torch._ops.OpOverload) and torch.Tag.pointwise in operator.tags
    return _elementwise(operator) if is_elementwise and aten_name(operator) not in _OF_ANY else None


def _elementwise(operator: Any) -> Callable[..., Any]:
    name = aten_name(operator)
    most = _FIVE if name in _OF_FIVE else _MOST

    def elements_of_joined_dimensions(*args: Any, **kwargs: Any) -> Any:
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        shapes = [tuple(each.shape) for each in tensors]
        if max(map(len, shapes), default=0) <= most:
            return NotImplemented
        if name in _OF_ONE_SHAPE and len(shapes) > 1 and len({*shapes}) == 1:
            return NotImplemented
        shape = torch.broadcast_shapes(*shapes)
        groups = _groups(shape, shapes)

        def joined(value: Any) -> Any:
            if not isinstance(value, torch.Tensor) or not value.dim():
                return value
            if len(groups) > _FIVE:
                return value.expand(shape).reshape(-1)
            own = (1,) * (len(shape) - value.dim()) + tuple(value.shape)
            return value.reshape([math.prod(own[axis] for axis in group) for group in groups])

        args, kwargs = tree_map(joined, (args, kwargs))
        return tree_map(lambda result: result.reshape(shape), operator(*args, **kwargs))

    return elements_of_joined_dimensions


def _groups(shape: Sequence[int], shapes: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the dimensions that may be joined: in each tensor, all of a group are broadcast or none is."""
    groups: list[list[int]] = [[]]
    last = None
    for axis, size in enumerate(shape):
        places = [axis - len(shape) + len(each) for each in shapes]
        pattern = [place >= 0 and each[place] == size for place, each in zip(places, shapes, strict=True)]
        if size != 1 and last not in (None, pattern):
            groups.append([])
        last = last if size == 1 else pattern
        groups[-1].append(axis)
    return groups


def _reducing(operator: Any) -> Callable[..., Any]:
    names = [each.name for each in operator._schema.arguments]

    def reduction_of_joined_dimensions(*args: Any, **kwargs: Any) -> Any:
        x, *others = args
        if x.dim() <= _MOST:
            return NotImplemented
        arguments = dict(zip(names[1:], others, strict=False)) | kwargs
        dims, keepdim = arguments.pop("dim", None), arguments.pop("keepdim", False)
        if not dims:
            dims = range(x.dim())
        axes = sorted(dim % x.dim() for dim in dims)
        kept = [axis for axis in range(x.dim()) if axis not in axes]
        if axes == [*range(axes[0], axes[-1] + 1)]:
            rows = x.reshape(math.prod(x.shape[: axes[0]]), -1, math.prod(x.shape[axes[-1] + 1 :]))
        else:
            rows = x.permute(*kept, *axes).reshape(math.prod(x.shape[axis] for axis in kept), -1)
        of_all = "dim" not in names
        result = operator(rows.reshape(-1), **arguments) if of_all else operator(rows, dim=[1], **arguments)
        sizes = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        return result.reshape(sizes if keepdim else [x.shape[axis] for axis in kept])

    return reduction_of_joined_dimensions


def _along(operator: Any) -> Callable[..., Any]:
    def rows_of_joined_dimensions(x: torch.Tensor, dim: int, *args: Any, **kwargs: Any) -> Any:
        if x.dim() <= _MOST:
            return NotImplemented
        axis = dim % x.dim()
        before, after = x.shape[:axis], x.shape[axis + 1 :]

        def separated(result: torch.Tensor) -> torch.Tensor:
            own = result.shape[1:2] if result.dim() == 3 else ()
            return result.reshape(*before, *own, *after)

        result = operator(x.reshape(as_three(x.shape, axis)), 1, *args, **kwargs)
        return tuple(map(separated, result)) if isinstance(result, tuple) else separated(result)

    return rows_of_joined_dimensions


def join_of_rows(tensors: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """Compute `cat` of tensors of high rank as that of matrices."""
    if tensors[0].dim() <= _MOST or len({each.dim() for each in tensors}) > 1:
        return NotImplemented
    axis = dim % tensors[0].dim()
    shape = tensors[0].shape
    before = math.prod(shape[:axis])
    joined = aten.cat.default([each.reshape(before, -1) for each in tensors], 1)
    return joined.reshape(*shape[:axis], -1, *shape[axis + 1 :])


def repeat_of_one_dimension(x: torch.Tensor, repeats: Sequence[int]) -> torch.Tensor:
    """Compute `repeat` of a tensor of high rank, one dimension after the other."""
    is_new = len(repeats) > x.dim() or x.shape[0] == 1
    if len(repeats) < _FIVE or (is_new and all(count == 1 for count in repeats[1:])):
        return NotImplemented
    x = x.reshape((1,) * (len(repeats) - x.dim()) + tuple(x.shape))
    for axis, count in enumerate(repeats):
        if count != 1:
            before, length, after = as_three(x.shape, axis)
            rows = x.reshape(before, 1, length * after).expand(before, count, length * after)
            x = rows.reshape(*x.shape[:axis], count * length, *x.shape[axis + 1 :])
    return x.clone()


def roll_of_one_dimension(x: torch.Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> torch.Tensor:
    """Compute `roll` of a tensor of high rank, one dimension after the other."""
    if x.dim() <= _MOST or not dims:
        return NotImplemented
    for shift, dim in zip(shifts, dims, strict=True):
        rows = x.reshape(as_three(x.shape, dim % x.dim()))
        x = aten.roll.default(rows, [shift], [1]).reshape(x.shape)
    return x


def gathered_from_rows(x: torch.Tensor, dim: int, index: torch.Tensor, **_: Any) -> torch.Tensor:
    """Compute `gather` of a tensor of high rank as that of a tensor of three dimensions."""
    if x.dim() <= _MOST:
        return NotImplemented
    axis = dim % x.dim()
    for other, size in enumerate(index.shape):
        if other != axis and size != x.shape[other]:
            x = x.narrow(other, 0, size)
    rows, places = (each.reshape(as_three(each.shape, axis)) for each in (x, index))
    return aten.gather.default(rows, 1, places).reshape(index.shape)


def einsum_of_many_batches(equation: str, tensors: Sequence[torch.Tensor], **_: Any) -> torch.Tensor:
    """Compute an `einsum` with more than three dimensions of batches, which LiteRT's products do not have."""
    inputs, _arrow, output = equation.replace(" ", "").partition("->")
    left, _comma, right = inputs.partition(",")
    batch = [letter for letter in left if letter in right and letter in output]
    if len(tensors) != 2 or "." in equation or len(batch) <= 3 or not _is_product(left, right, output):
        return NotImplemented
    sizes = dict(zip(left, tensors[0].shape, strict=True))
    if any(sizes.get(letter, size) != size for letter, size in zip(right, tensors[1].shape, strict=True)):
        return NotImplemented
    sizes |= dict(zip(right, tensors[1].shape, strict=True))
    summed = [letter for letter in left if letter in right and letter not in output]
    rows = [letter for letter in left if letter not in right]
    columns = [letter for letter in right if letter not in left]

    def matrices(tensor: torch.Tensor, letters: str, *groups: list[str]) -> torch.Tensor:
        places = [letters.index(letter) for group in groups for letter in group]
        return tensor.permute(places).reshape([math.prod(sizes[each] for each in group) for group in groups])

    product = torch.bmm(
        matrices(tensors[0], left, batch, rows, summed), matrices(tensors[1], right, batch, summed, columns)
    )
    letters = [*batch, *rows, *columns]
    return product.reshape([sizes[each] for each in letters]).permute(
        [letters.index(each) for each in output]
    )


def _is_product(left: str, right: str, output: str) -> bool:
    """Whether no letter occurs twice, and each of one side alone is in the result."""
    distinct = all(len({*letters}) == len(letters) for letters in (left, right, output))
    return distinct and {*left} ^ {*right} <= {*output}


_OTHERS: Final = {
    aten.cat.default: join_of_rows,
    aten.repeat.default: repeat_of_one_dimension,
    aten.roll.default: roll_of_one_dimension,
    aten.gather.default: gathered_from_rows,
    aten.einsum.default: einsum_of_many_batches,
}
