"""Complex numbers as pairs of real tensors: LiteRT has none, but many networks use them inside.

Rotary embeddings multiply them, spectral layers transform them; only the inputs and outputs of a network must
be real.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from nnlite_conversion.pipeline.lowering.rewrites import fourier

aten = torch.ops.aten


class NotReal(NotImplementedError):
    """An operator that has no rewrite for complex numbers."""


@dataclass(frozen=True)
class Complex:
    """A tensor of complex numbers: its real and its imaginary parts."""

    re: torch.Tensor
    im: torch.Tensor

    def stacked(self) -> torch.Tensor:
        """Return both parts in a new last dimension."""
        return torch.stack([self.re, self.im], -1)

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "Complex":
        """Return `function` of each part."""
        return Complex(function(self.re), function(self.im))


def concerns(target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call takes or returns complex numbers."""
    values = tree_leaves((args, dict(kwargs)))
    return target in _SOURCES or any(
        isinstance(value, Complex | complex) or (isinstance(value, torch.dtype) and value.is_complex)
        for value in values
    )


def call(target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return the result of an operator, which is `Complex` where PyTorch's is complex.

    Raises:
        NotReal: there is no rewrite.
    """
    if rule := RULES.get(target):
        return rule(*args, **kwargs)
    if target not in PARTWISE:
        raise NotReal(f"{target} of complex numbers cannot be converted; compute it with real ones")
    parts = [target(*_part(args, part), **_part(kwargs, part)) for part in ("re", "im")]
    if isinstance(parts[0], torch.Tensor):
        return Complex(*parts)
    return [Complex(re, im) for re, im in zip(*parts, strict=True)]


def _part(arguments: Any, name: str) -> Any:
    """Return the arguments for one part; real numbers have no imaginary part."""

    def of(value: Any) -> Any:
        if isinstance(value, Complex):
            return getattr(value, name)
        if isinstance(value, torch.Tensor) and value.is_floating_point() and name == "im":
            return torch.zeros_like(value)
        return value

    return tree_map(of, arguments)


def _pair(re: torch.Tensor, im: torch.Tensor) -> Complex:
    """Return a complex tensor of parts that are broadcast to one shape."""
    return Complex(re, im) if re.shape == im.shape else Complex(*torch.broadcast_tensors(re, im))


def _parts(value: Any) -> tuple[Any, Any]:
    """Return the real and the imaginary part of a complex tensor, a real tensor or a number."""
    if isinstance(value, Complex):
        return value.re, value.im
    return (value.real, value.imag) if isinstance(value, complex) else (value, 0)


def _is_real(part: Any) -> bool:
    return isinstance(part, int | float) and part == 0


def _add(a: Any, b: Any, *, alpha: float = 1) -> Complex:
    (a_re, a_im), (b_re, b_im) = _parts(a), _parts(b)
    if alpha != 1:
        b_re, b_im = alpha * b_re, alpha * b_im
    im = a_im if _is_real(b_im) else b_im if _is_real(a_im) else a_im + b_im
    return _pair(a_re + b_re, im)


def _sub(a: Any, b: Any, *, alpha: float = 1) -> Complex:
    return _add(a, b, alpha=-alpha)


def _mul(a: Any, b: Any) -> Complex:
    (a_re, a_im), (b_re, b_im) = _parts(a), _parts(b)
    if _is_real(b_im):
        return _pair(a_re * b_re, a_im * b_re)
    if _is_real(a_im):
        return _pair(a_re * b_re, a_re * b_im)
    return _pair(a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re)


def _div(a: Any, b: Any) -> Complex:
    if isinstance(b, Complex):
        squared = b.re * b.re + b.im * b.im
        return _mul(a, Complex(b.re / squared, -b.im / squared))
    if isinstance(b, complex):
        return _mul(a, 1 / b)
    return _pair(a.re / b, a.im / b)


def _abs(a: Complex) -> torch.Tensor:
    return torch.sqrt(a.re * a.re + a.im * a.im)


def _angle(a: Complex) -> torch.Tensor:
    return torch.atan2(a.im, a.re)


def _polar(size: torch.Tensor, angle: torch.Tensor) -> Complex:
    return Complex(size * torch.cos(angle), size * torch.sin(angle))


def _pow(a: Complex, exponent: float) -> Complex:
    if exponent == int(exponent) and 1 <= exponent <= 4:
        result = a
        for _ in range(int(exponent) - 1):
            result = _mul(result, a)
        return result
    return _polar(_abs(a) ** exponent, _angle(a) * exponent)


def _sgn(a: Complex) -> Complex:
    size = _abs(a)
    return a.map(lambda part: torch.where(size == 0, 0.0, part / torch.where(size == 0, 1.0, size)))


def _bilinear(operator: Any) -> Callable[..., Complex]:
    """Return the complex form of a product of two tensors, such as `mm`."""

    def product(a: Any, b: Any) -> Complex:
        if not isinstance(a, Complex):
            return Complex(operator(a, b.re), operator(a, b.im))
        if not isinstance(b, Complex):
            return Complex(operator(a.re, b), operator(a.im, b))
        return Complex(
            operator(a.re, b.re) - operator(a.im, b.im), operator(a.re, b.im) + operator(a.im, b.re)
        )

    return product


def _einsum(equation: str, operands: list[Any], path: Any = None) -> Any:
    result, *others = operands
    if len(operands) != 2:
        raise NotReal("einsum of other than two complex tensors cannot be converted; compute it in steps")
    return _bilinear(lambda a, b: aten.einsum.default(equation, [a, b]))(result, *others)


def _to_copy(a: Any, *, dtype: torch.dtype | None = None, **options: Any) -> Any:
    if not isinstance(a, Complex):
        real = a.to(torch.float32)
        return Complex(real, torch.zeros_like(real))
    return a if dtype is None or dtype.is_complex else a.re.to(dtype)


def _full(size: Any, value: Any, *, dtype: torch.dtype | None = None, **options: Any) -> Complex:
    value = complex(value)
    return Complex(torch.full(size, value.real), torch.full(size, value.imag))


def _scalar_tensor(value: Any, *, dtype: torch.dtype | None = None, **options: Any) -> Complex:
    return _full((), value)


def _pad(a: Complex, widths: list[int], value: Any = 0) -> Complex:
    re, im = _parts(value)
    return Complex(aten.constant_pad_nd(a.re, widths, re), aten.constant_pad_nd(a.im, widths, im))


RULES: Mapping[Any, Callable[..., Any]] = {
    aten._fft_r2c.default: lambda a, *how: Complex(*fourier.of_real(a, *how)),
    aten._fft_c2c.default: lambda a, *how: Complex(*fourier.of_complex(a.re, a.im, *how)),
    aten._fft_c2r.default: lambda a, *how: fourier.to_real(a.re, a.im, *how),
    aten.constant_pad_nd.default: _pad,
    aten.view_as_complex.default: lambda a: Complex(a[..., 0], a[..., 1]),
    aten.view_as_real.default: Complex.stacked,
    aten.complex.default: Complex,
    aten.polar.default: _polar,
    aten._to_copy.default: _to_copy,
    aten.full.default: _full,
    aten.scalar_tensor.default: _scalar_tensor,
    aten.add.Tensor: _add,
    aten.add.Scalar: _add,
    aten.sub.Tensor: _sub,
    aten.sub.Scalar: _sub,
    aten.mul.Tensor: _mul,
    aten.mul.Scalar: _mul,
    aten.div.Tensor: _div,
    aten.div.Scalar: _div,
    aten.reciprocal.default: lambda a: _div(1.0, a),
    aten._conj.default: lambda a: Complex(a.re, -a.im),
    aten._conj_physical.default: lambda a: Complex(a.re, -a.im),
    aten._neg_view.default: lambda a: a.map(torch.neg),
    aten.abs.default: _abs,
    aten.angle.default: _angle,
    aten.sgn.default: _sgn,
    aten.exp.default: lambda a: _polar(torch.exp(a.re), a.im),
    aten.log.default: lambda a: Complex(torch.log(_abs(a)), _angle(a)),
    aten.sqrt.default: lambda a: _pow(a, 0.5),
    aten.pow.Tensor_Scalar: _pow,
    aten.mm.default: _bilinear(aten.mm.default),
    aten.bmm.default: _bilinear(aten.bmm.default),
    aten.einsum.default: _einsum,
}

#: Operators that compute each part by itself.
PARTWISE = frozenset(
    {
        aten._unsafe_view.default, aten.alias.default, aten.cat.default, aten.clone.default,
        aten.copy.default, aten.cumsum.default, aten.detach.default, aten.diagonal.default,
        aten.expand.default, aten.flip.default, aten.gather.default, aten.index.Tensor,
        aten.index_select.default, aten.lift_fresh_copy.default, aten.mean.default, aten.mean.dim,
        aten.neg.default, aten.permute.default, aten.repeat.default, aten.reshape.default,
        aten.roll.default, aten.select.int, aten.select_scatter.default, aten.slice.Tensor,
        aten.slice_scatter.default, aten.split_with_sizes.default, aten.squeeze.default, aten.squeeze.dim,
        aten.squeeze.dims, aten.stack.default, aten.sum.default, aten.sum.dim_IntList, aten.t.default,
        aten.transpose.int, aten.unbind.int, aten.unfold.default, aten.unsqueeze.default,
        aten.view.default, aten.where.self, aten.zeros_like.default,
    }
)  # fmt: skip

#: Operators that take real numbers and return complex ones.
_SOURCES = frozenset(
    {
        aten.view_as_complex.default,
        aten.complex.default,
        aten.polar.default,
        aten._fft_r2c.default,
    }
)
