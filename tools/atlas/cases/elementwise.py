"""Operators of single elements: activations, arithmetic, comparisons, types."""

from collections.abc import Iterator

from atlas.case import Case, Input, case, each

IMAGE, ROWS = (1, 4, 6, 6), (3, 8)
#: Of functions that are defined, or steady, in a part of the numbers only.
_WITHIN = {
    **dict.fromkeys(("log", "log2", "log10", "sqrt", "rsqrt", "lgamma", "digamma"), "x.abs() + 0.1"),
    **dict.fromkeys(("asin", "acos", "atanh", "erfinv"), "x.clamp(-0.99, 0.99) * 0.9"),
    **dict.fromkeys(("acosh",), "x.abs() + 1.1"),
    **dict.fromkeys(("log1p",), "x.abs()"),
    **dict.fromkeys(("reciprocal",), "x.abs() + 0.25"),
    **dict.fromkeys(("isnan", "isinf", "isfinite"), "x / (x > 0)"),
    **dict.fromkeys(("logical_not",), "x > 0.5"),
    **dict.fromkeys(("logit",), "x.clamp(-0.9, 0.9) * 0.5 + 0.5"),
}
_UNARY = """
abs neg exp exp2 expm1 log log1p log2 log10 sqrt rsqrt square reciprocal sin cos tan asin acos atan
sinh cosh asinh acosh atanh erf erfc erfinv floor ceil round trunc frac sign sgn sigmoid tanh logit
lgamma digamma isnan isinf isfinite signbit logical_not positive i0 sinc
"""
_ACTIVATIONS = (
    "F.relu(x)",
    "F.relu6(3 * x)",
    "F.leaky_relu(x, 0.2)",
    "F.elu(x)",
    "F.elu(x, alpha=0.5)",
    "F.selu(x)",
    "F.celu(x, 2.0)",
    "F.gelu(x)",
    "F.gelu(x, approximate='tanh')",
    "F.silu(x)",
    "F.mish(x)",
    "F.hardswish(4 * x)",
    "F.hardsigmoid(4 * x)",
    "F.hardtanh(2 * x)",
    "F.hardtanh(x, -0.5, 0.25)",
    "F.hardshrink(x)",
    "F.softshrink(x)",
    "F.tanhshrink(x)",
    "F.softplus(x)",
    "F.softplus(x, beta=2, threshold=1)",
    "F.softsign(x)",
    "F.sigmoid(x)",
    "F.tanh(x)",
    "F.logsigmoid(x)",
    "F.threshold(x, 0.1, 0.5)",
    "F.rrelu(x)",
    "F.glu(x, dim=1)",
    "F.softmax(x, dim=1)",
    "F.softmax(x, dim=-1)",
    "F.log_softmax(x, dim=1)",
    "F.softmin(x, dim=-1)",
)
_BINARY = (
    "torch.add(x, y)",
    "torch.add(x, y, alpha=2)",
    "torch.sub(x, y)",
    "torch.sub(x, y, alpha=0.5)",
    "torch.rsub(x, y, alpha=2)",
    "torch.mul(x, y)",
    "torch.div(x, y.abs() + 0.5)",
    "torch.div(4 * x, y.abs() + 0.5, rounding_mode='floor')",
    "torch.div(4 * x, y.abs() + 0.5, rounding_mode='trunc')",
    "torch.floor_divide(4 * x, y.abs() + 0.5)",
    "torch.remainder(4 * x, y.abs() + 0.5)",
    "torch.fmod(4 * x, y.abs() + 0.5)",
    "torch.maximum(x, y)",
    "torch.minimum(x, y)",
    "torch.fmax(x, y)",
    "torch.fmin(x, y)",
    "torch.pow(x.abs() + 0.1, y)",
    "torch.atan2(x, y)",
    "torch.hypot(x, y)",
    "torch.copysign(x, y)",
    "torch.eq(x.round(), y.round())",
    "torch.ne(x.round(), y.round())",
    "torch.lt(x, y)",
    "torch.le(x, y)",
    "torch.gt(x, y)",
    "torch.ge(x, y)",
    "torch.logical_and(x > 0, y > 0)",
    "torch.logical_or(x > 0, y > 0)",
    "torch.logical_xor(x > 0, y > 0)",
    "torch.lerp(x, y, 0.3)",
    "torch.addcmul(x, x, y, value=0.5)",
    "torch.addcdiv(x, x, y.abs() + 0.5, value=0.5)",
    "torch.where(x > 0, x, y)",
    "torch.xlogy(x, y.abs() + 0.1)",
    "torch.logaddexp(x, y)",
    "torch.heaviside(x, y)",
    "torch.dist(x, y).reshape(1)",
    "(x - y).square()",
    "x.masked_fill(y > 0, 0.5)",
    "x.masked_fill(y > 0, float('-inf')).softmax(-1)",
    "torch.nextafter(x, y)",
    "F.cosine_similarity(x, y)",
    "F.pairwise_distance(x, y)",
    "F.mse_loss(x, y).reshape(1)",
    "F.smooth_l1_loss(x, y, reduction='none')",
)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for rank, shape in ((6, (1, 2, 3, 2, 3, 4)), (7, (1, 2, 3, 2, 3, 2, 2))):
        for operator, call in (
            ("relu", "F.relu(x)"),
            ("clamp", "x.clamp(0, 6)"),
            ("mul", "x * x[:, :1] + 1.5"),
            ("sum", "x.sum((1, 4))"),
            ("amax", "x.amax(2)"),
            ("softmax", "x.softmax(2)"),
            ("cat", "torch.cat([x, x], 2)"),
        ):
            yield case(operator, call, shape, variant=f"rank {rank}")
    yield from _unary()
    yield from _binary()
    yield from _integers()
    yield from _types()


def _name(call: str) -> str:
    return call.partition("(")[0].rpartition(".")[2]


def _unary() -> Iterator[Case]:
    for call in _ACTIVATIONS:
        for shape in (ROWS, IMAGE):
            yield case(_name(call), call, shape, variant=f"{call}, rank {len(shape)}")
    yield case("prelu", "self.layer(x)", IMAGE, init="self.layer = nn.PReLU(4)", variant="rank 4, by channel")
    yield case("prelu", "self.layer(x)", ROWS, init="self.layer = nn.PReLU()", variant="rank 2, one weight")
    for operator in _UNARY.split():
        within = _WITHIN.get(operator, "3 * x")
        yield case(operator, f"torch.{operator}({within})", ROWS)
    yield case("round", "torch.round(8 * x) / 2 + torch.round(x, decimals=1)", ROWS)
    for operator in ("exp", "sqrt", "rsqrt", "floor", "round", "sign", "neg"):
        yield case(operator, f"torch.{operator}({_WITHIN.get(operator, '3 * x')})", IMAGE, variant="rank 4")
    yield from each(
        "clamp",
        "x.clamp(-0.5, 0.25)",
        "x.clamp(min=0.1)",
        "x.clamp(max=0.1)",
        "x.clamp(min=-y.abs(), max=y.abs())",
        inputs=(ROWS, ROWS),
    )
    yield from each(
        "pow",
        "x ** 2",
        "x ** 3",
        "x.abs() ** 0.5",
        "(x.abs() + 0.1) ** -0.5",
        "(x.abs() + 0.1) ** 1.7",
        "2 ** x",
        inputs=(ROWS,),
    )
    yield from each("nan_to_num", "torch.nan_to_num(x / (x > 0))", inputs=(ROWS,))


def _binary() -> Iterator[Case]:
    for call in _BINARY:
        yield case(_name(call) if call.startswith(("torch.", "F.")) else _of_method(call), call, ROWS, ROWS)
    others: tuple[Input, ...] = ((8,), (3, 1), (1, 8), (2, 3, 8), (1, 1))
    for operator in ("add", "mul", "sub", "maximum", "where"):
        call = "torch.where(x > y, x, y)" if operator == "where" else f"torch.{operator}(x, y)"
        for other in others:
            yield case(operator, call, ROWS, other, variant=f"{ROWS} and {other}")
    for operator in ("add", "mul", "div"):
        yield case(operator, f"torch.{operator}(x, y.abs() + 0.5)", IMAGE, (1, 4, 1, 1), variant="by channel")
    yield from each("add", "x + 1.5", "1 - x", "x / 3", "3 / (x.abs() + 0.5)", "x * -0.5", inputs=(ROWS,))
    yield from each("add", "x + y", inputs=(((3, 8), "int64"), (3, 8)))


def _of_method(call: str) -> str:
    return "masked_fill" if "masked_fill" in call else "sub"


def _integers() -> Iterator[Case]:
    calls = (
        "x + y",
        "x - y",
        "x * y",
        "x // (y.abs() + 1)",
        "x % (y.abs() + 1)",
        "torch.fmod(x, y.abs() + 1)",
        "torch.div(x, y.abs() + 1, rounding_mode='trunc')",
        "x / (y.abs() + 1)",
        "torch.maximum(x, y)",
        "x.abs()",
        "-x",
        "x > y",
        "x == y",
        "torch.where(x > 2, x, y)",
        "x.clamp(0, 3)",
        "torch.bitwise_and(x, 3)",
        "torch.bitwise_or(x, y)",
        "torch.bitwise_xor(x, y)",
        "torch.bitwise_not(x)",
        "x << 1",
        "x >> 1",
        "x ** 2",
        "x.sum(-1)",
        "x.cumsum(-1)",
        "x.amax(-1)",
        "x.float() * 0.5",
        "torch.sign(x)",
    )
    for dtype in ("int32", "int64"):
        for call in calls:
            inputs = ((3, 8), dtype)
            yield case("integers", call, inputs, inputs, variant=f"{call}, {dtype}")
    for call in ("x & y", "x | y", "x ^ y", "~x", "x.any(-1)", "x.all(-1)", "x.float()", "x.sum(-1)"):
        yield case("booleans", call, ((3, 8), "bool"), ((3, 8), "bool"), variant=call)


def _types() -> Iterator[Case]:
    for dtype in ("float64", "float16", "bfloat16"):
        for call, init in (
            ("self.layer(x.to(torch.{0})).float()", "self.layer = nn.Linear(8, 4).to(torch.{0})"),
            ("(x.to(torch.{0}) * 2 + 1).sigmoid().float()", ""),
            ("x.to(torch.{0}).softmax(-1).float()", ""),
        ):
            yield case("to", call.format(dtype), ROWS, init=init.format(dtype))
        init = f"self.layer = nn.Conv2d(4, 4, 3).to(torch.{dtype})"
        yield case("conv2d", f"self.layer(x.to(torch.{dtype})).float()", IMAGE, init=init, variant=dtype)
    yield case("to", "x + torch.sin(torch.arange(8).double() * 0.1).float()", ROWS)
    for target in ("int8", "uint8"):
        for comparison in ("== 1", "<= 2", "> (4 * y.abs()).to(torch.{0})"):
            call = f"((4 * x.abs()).to(torch.{target}) {comparison.format(target)}).float()"
            inputs = (ROWS, ROWS) if "y" in comparison else (ROWS,)
            yield case("integers", call, *inputs, variant=f"{comparison.format(target)}, {target}")
    for target in ("int32", "int64", "int8", "uint8", "bool"):
        yield case("to", f"(x.abs() * 4).to(torch.{target})", ROWS)
