"""Products and reductions: matrices, attention, recurrent layers, sums and their kind."""

from collections.abc import Iterator

from atlas.case import Case, Input, case, each

ROWS, IMAGE, TOKENS = (3, 8), (1, 4, 6, 6), (1, 5, 8)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _matrices()
    yield from _attention()
    yield from _recurrent()
    yield from _reductions()
    yield from _cumulative()
    yield from _over_nothing()


def _matrices() -> Iterator[Case]:
    for shape in ((8,), (3, 8), (1, 5, 8), (1, 4, 6, 8), (1, 2, 3, 4, 8)):
        for bias in (True, False):
            init = f"self.layer = nn.Linear(8, 6, bias={bias})"
            yield case("linear", "self.layer(x)", shape, init=init, variant=f"rank {len(shape)}, {bias=}")
    pairs: tuple[tuple[Input, Input], ...] = (
        ((8,), (8,)),
        ((8,), (8, 3)),
        ((3, 8), (8,)),
        ((3, 8), (8, 4)),
        ((2, 3, 8), (8, 4)),
        ((2, 3, 8), (2, 8, 4)),
        ((2, 3, 8), (1, 8, 4)),
        ((1, 2, 3, 8), (1, 2, 8, 4)),
        ((1, 2, 3, 8), (8, 4)),
        ((1, 2, 3, 8), (1, 1, 8, 4)),
    )
    for left, right in pairs:
        yield case("matmul", "x @ y", left, right, variant=f"{left} and {right}")
    yield case(
        "matmul",
        "self.weight @ x",
        (1, 5, 8),
        init="self.weight = nn.Parameter(torch.rand(4, 5))",
        variant="of a constant",
    )
    yield from each("mm", "torch.mm(x, y.T)", inputs=((3, 8), (4, 8)))
    yield from each(
        "bmm",
        "torch.bmm(x, y)",
        "torch.bmm(x, y.transpose(1, 2).contiguous().transpose(1, 2))",
        inputs=((2, 3, 8), (2, 8, 4)),
    )
    yield from each(
        "addmm",
        "torch.addmm(z, x, y)",
        "torch.addmm(z, x, y, beta=0.5, alpha=2)",
        inputs=((3, 8), (8, 4), (3, 4)),
    )
    yield from each("baddbmm", "torch.baddbmm(z, x, y, beta=0.5)", inputs=((2, 3, 8), (2, 8, 4), (2, 3, 4)))
    yield from each("outer", "torch.outer(x, y)", inputs=((3,), (4,)))
    yield from each("dot", "torch.dot(x, y).reshape(1)", inputs=((8,), (8,)))
    yield from each("mv", "torch.mv(x, y)", inputs=((3, 8), (8,)))
    yield from each("tensordot", "torch.tensordot(x, y, dims=([2], [0]))", inputs=((2, 3, 8), (8, 4)))
    yield from each("kron", "torch.kron(x, y)", inputs=((2, 3), (2, 2)))
    yield from each("cross", "torch.linalg.cross(x, y, dim=-1)", inputs=((4, 3), (4, 3)))
    yield from each("cdist", "torch.cdist(x, y)", "torch.cdist(x, y, p=1.0)", inputs=((1, 3, 8), (1, 4, 8)))
    yield case("bilinear", "self.layer(x, y)", ROWS, (3, 6), init="self.layer = nn.Bilinear(8, 6, 4)")
    for equation, left, right in (
        ("ij,jk->ik", (3, 8), (8, 4)),
        ("bij,bjk->bik", (2, 3, 8), (2, 8, 4)),
        ("bhid,bhjd->bhij", TOKENS, TOKENS),
        ("bchw,cd->bdhw", IMAGE, (4, 5)),
        ("i,j->ij", (3,), (4,)),
        ("bij,ij->b", (2, 3, 8), (3, 8)),
    ):
        forward = f"torch.einsum('{equation}', x, y)"
        if left is TOKENS:
            heads = "x, y = (t.reshape(1, 5, 2, 4).transpose(1, 2) for t in (x, y))"
            forward = f"{heads}\nreturn {forward}"
        yield case("einsum", forward, left, right, variant=equation)


def _attention() -> Iterator[Case]:
    heads = "q, k, v = (t.reshape(1, 5, 2, 4).transpose(1, 2) for t in (x, y, z))\nreturn "
    for options in (
        "",
        ", is_causal=True",
        ", attn_mask=torch.ones(5, 5).tril() == 1",
        ", attn_mask=self.bias",
        ", scale=0.3",
    ):
        call = f"{heads}F.scaled_dot_product_attention(q, k, v{options})"
        init = "self.bias = nn.Parameter(torch.rand(5, 5))"
        variant = options.strip(", ") or "plain"
        yield case("scaled_dot_product_attention", call, TOKENS, TOKENS, TOKENS, init=init, variant=variant)
    for mask, variant in (
        ("z", "mask as input"),
        ("torch.zeros(5, 5).masked_fill(z, -torch.inf)", "infinite mask of input"),
    ):
        forward = f"{heads.replace('z)', 'x)')}F.scaled_dot_product_attention(q, k, v, attn_mask={mask})"
        inputs = TOKENS, TOKENS, ((5, 5), "bool")
        yield case("scaled_dot_product_attention", forward, *inputs, variant=variant)
    init = "self.layer = nn.MultiheadAttention(8, 2, batch_first=True)"
    yield case("MultiheadAttention", "self.layer(x, x, x)[0]", TOKENS, init=init, variant="self")
    for form in ("z", "torch.zeros(1, 5).masked_fill(z, -torch.inf)"):
        forward = f"self.layer(x, y, y, key_padding_mask={form}, need_weights=False)[0]"
        variant = "padding" if form == "z" else "infinite padding"
        inputs = TOKENS, TOKENS, ((1, 5), "bool")
        yield case("MultiheadAttention", forward, *inputs, init=init, variant=variant)
    yield case("MultiheadAttention", "self.layer(x, y, y)[0]", TOKENS, (1, 3, 8), init=init, variant="cross")
    yield case("MultiheadAttention", "self.layer(x, x, x)", TOKENS, init=init, variant="with weights")
    forward = "self.layer(x, x, x, key_padding_mask=y, need_weights=False)[0]"
    yield case(
        "MultiheadAttention",
        forward,
        TOKENS,
        ((1, 5), "bool"),
        init=init,
        variant="key_padding_mask",
    )
    for options in ("", ", activation='gelu'", ", norm_first=True"):
        init = f"self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True{options})"
        yield case(
            "TransformerEncoderLayer",
            "self.layer(x)",
            TOKENS,
            init=init,
            variant=options.strip(", ") or "plain",
        )
    init = "self.layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)"
    yield case("TransformerDecoderLayer", "self.layer(x, y)", TOKENS, (1, 3, 8), init=init)


def _recurrent() -> Iterator[Case]:
    for kind in ("LSTM", "GRU", "RNN"):
        for options in ("", ", num_layers=2", ", bidirectional=True", ", bias=False"):
            init = f"self.layer = nn.{kind}(8, 6, batch_first=True{options})"
            yield case(
                kind.lower(), "self.layer(x)[0]", TOKENS, init=init, variant=options.strip(", ") or "plain"
            )
        forward = "self.layer(x)" if kind != "LSTM" else "self.layer(x)[0]"
        yield case(f"{kind.lower()}_cell", forward, ROWS, init=f"self.layer = nn.{kind}Cell(8, 6)")
    init = "self.layer = nn.RNN(8, 6, nonlinearity='relu', batch_first=True)"
    yield case("rnn", "self.layer(x)[1]", TOKENS, init=init, variant="relu, its state")


def _reductions() -> Iterator[Case]:
    for operator in ("sum", "mean", "amax", "amin", "var", "std", "logsumexp"):
        for dims in ("-1", "1", "(2, 3)", "(0, 1, 2, 3)"):
            if operator in ("amax", "amin", "logsumexp", "mean", "sum") or dims != "1":
                call = f"torch.{operator}(x, dim={dims})"
                yield case(
                    operator, call if "0" not in dims else f"{call}.reshape(1)", IMAGE, variant=f"dim={dims}"
                )
        yield case(operator, f"torch.{operator}(x, dim=1, keepdim=True)", IMAGE, variant="dim=1, keepdim")
    for operator in ("max", "min"):
        yield from each(
            operator,
            f"torch.{operator}(x).reshape(1)",
            f"torch.{operator}(x, dim=1)[0]",
            f"torch.{operator}(x, dim=-1)",
            inputs=(IMAGE,),
        )
    for operator in ("argmax", "argmin"):
        yield from each(
            operator,
            f"torch.{operator}(x, dim=1)",
            f"torch.{operator}(x, dim=-1, keepdim=True)",
            f"torch.{operator}(x).reshape(1)",
            inputs=(IMAGE,),
        )
    yield from each(
        "norm",
        "torch.norm(x, dim=1)",
        "x.norm(p=1, dim=-1)",
        "torch.linalg.vector_norm(x, ord=3, dim=1)",
        "torch.linalg.matrix_norm(x)",
        "x.norm().reshape(1)",
        inputs=(IMAGE,),
    )
    yield from each(
        "prod", "torch.prod(x + 1, dim=1)", "torch.prod(x + 1, dim=-1, keepdim=True)", inputs=(IMAGE,)
    )
    yield from each(
        "var", "torch.var(x, dim=1, unbiased=False)", "x.var(dim=(2, 3), correction=0)", inputs=(IMAGE,)
    )
    yield from each("var_mean", "torch.var_mean(x, dim=1)", inputs=(IMAGE,))
    yield from each("std_mean", "torch.std_mean(x, dim=1)", inputs=(IMAGE,))
    yield from each("any", "(x > 0.9).any(dim=1)", inputs=(IMAGE,))
    yield from each("all", "(x > -0.9).all(dim=1)", inputs=(IMAGE,))
    yield from each("count_nonzero", "torch.count_nonzero(x > 0, dim=1)", inputs=(IMAGE,))
    yield from each("nansum", "torch.nansum(x, dim=1)", inputs=(IMAGE,))
    yield from each("aminmax", "torch.aminmax(x, dim=1)", inputs=(IMAGE,))


def _cumulative() -> Iterator[Case]:
    for operator in ("cumsum", "cumprod", "logcumsumexp"):
        for dim in (1, -1):
            yield case(operator, f"torch.{operator}(x, dim={dim})", IMAGE, variant=f"rank 4, dim={dim}")
        yield case(operator, f"torch.{operator}(x, dim=-1)", ROWS, variant="rank 2")
    yield from each("cummax", "torch.cummax(x, dim=-1)[0]", inputs=(ROWS,))
    yield from each("cummin", "torch.cummin(x, dim=-1)[0]", inputs=(ROWS,))
    yield from each("diff", "torch.diff(x)", inputs=(ROWS,))


def _over_nothing() -> Iterator[Case]:
    """Yield layers without channels, as `Linear(3, 3 // 16)`, and empty slices."""
    for shape in ((3, 8), (1, 5, 8), (1, 4, 6, 8)):
        for bias in (True, False):
            layers = f"nn.Linear(8, 0, bias={bias}), nn.ReLU(), nn.Linear(0, 8, bias={bias})"
            init = f"self.layers = nn.Sequential({layers})"
            variant = f"without channels, rank {len(shape)}, {bias=}"
            yield case("linear", "x * self.layers(x).sigmoid()", shape, init=init, variant=variant)
    yield from each("matmul", "x + x[:, :0] @ x[:0]", inputs=((8, 8),))
    yield from each("bmm", "x + torch.bmm(x[..., :0], x[:, :0])", inputs=((2, 8, 8),))
    yield from each("addmm", "torch.addmm(x, x[:, :0], x[:0])", inputs=((8, 8),))
    yield from each("einsum", "x + torch.einsum('bij,bjk->bik', x[..., :0], x[:, :0])", inputs=((2, 8, 8),))
    yield from each("sum", "x + x[:, :0].sum(1, keepdim=True)", inputs=(ROWS,))
    yield from each("prod", "x * x[:, :0].prod(1, keepdim=True)", inputs=(ROWS,))
    yield from each("cat", "torch.cat([x[:, :0].softmax(1), x, x[:, 8:]], 1) * 2", inputs=(ROWS,))
    yield case(
        "embedding",
        "torch.cat([x, self.table(torch.zeros(0, dtype=torch.int64))])",
        ROWS,
        init="self.table = nn.Embedding(5, 8)",
        variant="of no index",
    )
