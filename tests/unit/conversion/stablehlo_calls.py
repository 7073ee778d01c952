"""Calls of ATen operators, whose StableHLO is compared with what litert-torch builds by jax."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

aten = torch.ops.aten
END = 2**63 - 1


@dataclass(frozen=True)
class Of:
    """An argument that is a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def __repr__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')}{list(self.shape)}"


@dataclass(frozen=True)
class Call:
    """A call of an operator; its arguments contain tensors."""

    operator: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Operator and arguments: unique."""
        return f"{self.operator}{self.args}{dict(self.kwargs) or ''}"


def f32(*shape: int) -> Of:
    """Return a tensor of floats."""
    return Of(shape)


def i32(*shape: int) -> Of:
    """Return a tensor of integers; of a number in the code without a shape."""
    return Of(shape, torch.int32)


def mask(*shape: int) -> Of:
    """Return a tensor of truth values."""
    return Of(shape, torch.bool)


IMAGE = f32(1, 4, 6, 6)
WIDE = f32(2, 3, 7, 9)


def _elementwise() -> Iterator[tuple[Any, ...]]:
    for name in ("tanh", "exp", "log", "log1p", "sqrt", "rsqrt", "sin", "cos"):
        yield getattr(aten, name).default, IMAGE
    for name in ("relu", "sigmoid", "silu"):
        yield getattr(aten, name).default, IMAGE
        yield getattr(aten, name).default, f32()
    for low, high in ((0.0, 6.0), (0, 6), (0, None), (None, 1.5)):
        yield aten.clamp.default, IMAGE, low, high
    for bounds in ((), (-2.0, 2.0), (0, 6)):
        yield aten.hardtanh.default, IMAGE, *bounds
    for slope in ((), (0.1,), (1,)):
        yield aten.leaky_relu.default, IMAGE, *slope
    yield aten.elu.default, IMAGE
    pairs = (
        (IMAGE, IMAGE), (IMAGE, f32()), (f32(), IMAGE), (IMAGE, f32(4, 1, 1)), (IMAGE, f32(1, 4, 1, 1)),
        (f32(1, 8), f32(8)), (f32(3, 1), f32(1, 4)), (IMAGE, i32()), (i32(), IMAGE), (f32(), f32()),
    )  # fmt: skip
    for pair in pairs:
        yield aten.add.Tensor, *pair
    for name in ("sub", "mul", "div", "gt", "ge", "lt", "le", "eq", "ne"):
        for pair in (pairs[3], pairs[7]):
            yield getattr(aten, name).Tensor, *pair
    for name in ("add", "sub", "mul", "div", "gt", "ge", "lt", "le", "eq", "ne"):
        yield getattr(aten, name).Scalar, IMAGE, 2.5
    yield aten.add.Scalar, IMAGE, 1
    yield aten.maximum.default, IMAGE, f32(6)
    yield aten.minimum.default, IMAGE, IMAGE
    image_mask = mask(1, 4, 6, 6)
    for condition, x, y in (
        (image_mask, IMAGE, f32()),
        (mask(6, 6), IMAGE, f32()),
        (image_mask, f32(), f32()),
    ):
        yield aten.where.self, condition, x, y
    for left, right in (((2, 3), (3, 5)), ((1, 3), (3, 1))):
        yield aten.mm.default, f32(*left), f32(*right)
    yield aten.bmm.default, f32(2, 3, 4), f32(2, 4, 5)


def _shapes() -> Iterator[tuple[Any, ...]]:
    for shape in ([1, -1], [1, 4, 6, 6], [-1], [1, 4, 1, 6, 6]):
        yield aten.view.default, IMAGE, shape
    yield aten._unsafe_view.default, i32(1, 4), [4]
    yield aten.reshape.default, f32(1), []
    for dims in ([0, 2, 3, 1], [0, 1, 2, 3], [0, -1, 1, 2]):
        yield aten.permute.default, IMAGE, dims
    yield aten.clone.default, IMAGE
    for x, sizes in (
        (f32(1, 4, 1, 1), [1, 4, 6, 6]), (f32(4), [1, 6, 4]), (IMAGE, [-1, -1, -1, -1]), (mask(1), [3]),
        (f32(4, 1, 1), [2, 4, 6, 6]),
    ):  # fmt: skip
        yield aten.expand.default, x, sizes
    for dim in (0, -1, 4):
        yield aten.unsqueeze.default, IMAGE, dim
    for dim in (-1, 1):
        yield aten.squeeze.dim, f32(1, 4, 1, 1), dim
    for dims in ([2, 3], [1], [0, -1]):
        yield aten.squeeze.dims, f32(1, 4, 1, 1), dims
    for part in ((1, 0, 2), (1, 0, END), (1, -2, END), (2, 1, END, 2), (-1, 2, 4), (1, 0, 100), (0,)):
        yield aten.slice.Tensor, IMAGE, *part
    for dim, index in ((1, 0), (1, -1), (0, 0), (-1, 2)):
        yield aten.select.int, IMAGE, dim, index


def _reductions() -> Iterator[tuple[Any, ...]]:
    for dims, keep in (([-1, -2], True), ([2, 3], False), ([1], True), ([3, 1], False)):
        yield aten.mean.dim, IMAGE, dims, keep
        yield aten.sum.dim_IntList, IMAGE, dims, keep
    yield aten.sum.dim_IntList, f32(3), [0]
    for operator in (aten.amax.default, aten.amin.default):
        yield operator, IMAGE, [1], True
    for x, dim in ((IMAGE, 1), (f32(2, 8), -1), (f32(3), 0), (f32(2, 1), 1)):
        yield aten._softmax.default, x, dim, False
    for pool in (
        ([2, 2],), ([3, 3], [2, 2], [1, 1]), ([3, 3], [1, 1], [1, 1]), ([3, 2], [2, 1], [1, 0]),
        ([3, 3], [2, 2], [1, 1], [2, 2]), ([2, 2], [2, 2], [0, 0], [1, 1], True), ([3, 3], []),
        ([2, 2], [3, 3], [0, 0], [1, 1], True),
    ):  # fmt: skip
        yield aten.max_pool2d_with_indices.default, WIDE, *pool
    for pool in (
        ([2, 2],), ([3, 3], [2, 2], [1, 1]), ([3, 3], [1, 1], [1, 1], False, False),
        ([2, 3], [1, 2], [0, 1], False, False), ([3, 3], [2, 2], [1, 1], True, False),
    ):  # fmt: skip
        yield aten.avg_pool2d.default, WIDE, *pool
    yield aten.avg_pool2d.default, IMAGE, [2, 2], [2, 2], [0, 0], True


def _integers() -> Iterator[tuple[Any, ...]]:
    """Of operators that adaptive pooling becomes, a mapping is of named arguments."""
    pairs = (
        (i32(6), i32()), (i32(6), i32(6)), (i32(6, 1), i32(4)), (i32(4), i32(6, 1)), (IMAGE, i32(6, 6)),
        (i32(2, 2), f32()), (i32(), i32()),
    )  # fmt: skip
    for name in ("add", "sub", "mul"):
        for pair in pairs:
            yield getattr(aten, name).Tensor, *pair
    yield aten.div.Tensor, IMAGE, i32(6, 6)
    yield aten.div.Tensor, i32(6), f32()
    for name in ("gt", "ge", "lt", "le", "eq", "ne"):
        yield getattr(aten, name).Tensor, *pairs[3]
    for operator in (aten.minimum.default, aten.maximum.default):
        yield operator, i32(6, 4), Of((), torch.int64)
        yield operator, i32(6, 4), i32(4)
    for pair in (*pairs, (IMAGE, f32())):
        yield aten.div.Tensor_mode, *pair, {"rounding_mode": "trunc"}
    yield aten.arange.start_step, 0, 6, {"dtype": torch.int64, "pin_memory": False}
    for value, dtype in ((15, torch.int64), (0.0, torch.float32), (2, torch.float32)):
        yield aten.scalar_tensor.default, value, {"dtype": dtype}
    for x, *indices in (
        (IMAGE, None, None, i32(3, 2, 1, 1), i32(3, 2)), (IMAGE, None, None, i32(3, 1), i32(4)),
        (WIDE, None, None, i32(5), i32(5)), (f32(6, 5), i32(2, 1), i32(3)),
        (WIDE, None, i32(2), i32(2), i32(1)), (mask(4, 1), i32(2), i32(2)),
    ):  # fmt: skip
        yield aten.index.Tensor, x, indices


def _calls(*groups: Iterator[tuple[Any, ...]]) -> tuple[Call, ...]:
    """Return the calls of tuples: an operator and its arguments, at the end those with a name."""
    calls = []
    for group in groups:
        for operator, *args in group:
            named = args.pop() if args and isinstance(args[-1], dict) else {}
            calls.append(Call(operator, tuple(args), named))
    return tuple(calls)


COVERED = _calls(_elementwise(), _shapes(), _reductions(), _integers())
#: Signatures that are left to litert-torch.
LEFT = _calls(
    iter(
        [
            (aten.relu.default, Of((2, 3), torch.int32)),
            (aten.elu.default, IMAGE, 0.5),
            (aten.add.Tensor, i32(2, 2), mask(2, 2)),
            (aten.div.Tensor, i32(2, 2), i32()),
            (aten.div.Tensor_mode, i32(2, 2), i32(), {"rounding_mode": "floor"}),
            (aten.arange.start_step, 1, 6, {"dtype": torch.int64}),
            (aten.arange.start_step, 0, 6, 2, {"dtype": torch.int64}),
            (aten.arange.start_step, 0, 6, {"dtype": torch.int32}),
            (aten.scalar_tensor.default, True, {"dtype": torch.bool}),
            (aten.index.Tensor, IMAGE, [None, None, i32(3)]),
            (aten.index.Tensor, IMAGE, [i32(1), i32(1)]),
            (aten.index.Tensor, f32(6, 6), [i32(), i32()]),
            (aten.index.Tensor, IMAGE, [i32(1), None, None, i32(1)]),
            (aten.index.Tensor, f32(6, 6), [Of((3,), torch.int64), i32(3)]),
            (aten.bmm.default, f32(1, 3, 4), f32(1, 4, 5)),
            (aten.where.self, mask(), IMAGE, IMAGE),
            (aten.mean.dim, f32(3), [0]),
            (aten.max_pool2d_with_indices.default, f32(4, 6, 6), [2, 2]),
            (aten.avg_pool2d.default, WIDE, [2, 2], [2, 2], [0, 0], True),
            (aten.avg_pool2d.default, IMAGE, [2, 2], [2, 2], [0, 0], False, True, 3),
        ]
    )
)
