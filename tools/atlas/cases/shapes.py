"""Operators that move elements: shapes, joins and parts, gathering and scattering, constants."""

from collections.abc import Iterator

from atlas.case import Case, case, each

ROWS, CUBE, IMAGE = (3, 8), (2, 3, 8), (1, 4, 6, 8)
INDEX = ((3, 2), "int64")


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _shapes()
    yield from _joins_and_parts()
    yield from _gathering()
    yield from _scattering()
    yield from _constants()


def _shapes() -> Iterator[Case]:
    yield from each(
        "reshape",
        "x.reshape(1, -1)",
        "x.reshape(2, 2, 6, 8)",
        "x.permute(0, 2, 3, 1).reshape(1, -1)",
        inputs=(IMAGE,),
    )
    yield from each("view", "x.view(1, 4, -1)", "x.view(4, 48).T", inputs=(IMAGE,))
    yield from each(
        "flatten", "x.flatten(1)", "torch.flatten(x)", "x.flatten(2).transpose(1, 2)", inputs=(IMAGE,)
    )
    yield from each("unflatten", "x.unflatten(1, (2, 2))", inputs=(IMAGE,))
    yield from each("permute", "x.permute(0, 2, 3, 1)", "x.permute(3, 2, 1, 0)", inputs=(IMAGE,))
    yield from each("permute", "x.reshape(1, 2, 2, 6, 8).permute(0, 2, 1, 4, 3)", inputs=(IMAGE,))
    yield from each("transpose", "x.transpose(1, 2)", "x.mT", "x.swapaxes(-1, -3)", inputs=(IMAGE,))
    yield from each("movedim", "torch.movedim(x, 1, -1)", inputs=(IMAGE,))
    yield from each("t", "x.t()", inputs=(ROWS,))
    yield from each("squeeze", "x.squeeze(0)", "x.squeeze()", "x.unsqueeze(1).squeeze(1)", inputs=(IMAGE,))
    yield from each("unsqueeze", "x.unsqueeze(0)", "x.unsqueeze(-1)", inputs=(CUBE,))
    yield from each(
        "expand",
        "x[:, :1].expand(3, 8)",
        "x.unsqueeze(0).expand(4, 3, 8)",
        "x[:1].expand_as(x) + x",
        "torch.cat([x[:, :1].expand(3, 5), x], 1)",
        "torch.cat([self.token.expand(3, 1, 8), x.unsqueeze(1)], 1)",
        inputs=(ROWS,),
        init="self.token = nn.Parameter(torch.rand(1, 1, 8))",
    )
    yield from each(
        "expand",
        "torch.cat([x.mean((2, 3), keepdim=True).expand(-1, -1, 6, 8), x], 1)",
        "torch.cat([self.token.expand(1, -1, 6, 8), x], 1)",
        "torch.stack([x.mean(1, True).expand_as(x), x])",
        inputs=(IMAGE,),
        init="self.token = nn.Parameter(torch.rand(1, 2, 1, 1))",
    )
    yield from each(
        "broadcast_to",
        "torch.broadcast_to(x[:1], (3, 8)) * 2",
        "sum(torch.broadcast_tensors(x, x[:1]))",
        inputs=(ROWS,),
    )
    yield from each("repeat", "x.repeat(2, 1)", "x.repeat(2, 3, 1)", inputs=(ROWS,))
    yield from each("repeat", "x.repeat(1, 2, 1, 3, 1)", inputs=((2, 3, 2, 2, 3),))
    yield from each("tile", "torch.tile(x, (2, 2))", inputs=(ROWS,))
    yield from each(
        "repeat_interleave", "x.repeat_interleave(2, dim=0)", "torch.repeat_interleave(x, 3)", inputs=(ROWS,)
    )
    yield from each("flip", "x.flip(0)", "x.flip(-1)", "torch.flip(x, (0, 1))", inputs=(ROWS,))
    yield from each("flip", "x.flip(0, 2)", "x.flip(-1, 1)", inputs=(IMAGE,))
    yield from each("roll", "x.roll(1, 0)", "x.roll((1, -2), (0, 1))", "torch.roll(x, 3)", inputs=(ROWS,))
    yield from each("roll", "torch.roll(x, (-2, 3), dims=(2, 3))", inputs=(IMAGE,))
    yield from each("rot90", "torch.rot90(x, 1, (2, 3))", inputs=(IMAGE,))
    yield from each("unfold", "x.unfold(1, 4, 2)", "x.unfold(-1, 3, 3)", inputs=(ROWS,))
    yield from each(
        "unfold",
        "x.unfold(2, 3, 3).unfold(3, 4, 4)",
        "x.unfold(2, 3, 1).unfold(3, 3, 2)",
        "x.unfold(-1, 2, 5)",
        "x.unfold(1, 2, 1)",
        inputs=(IMAGE,),
    )
    yield from each("as_strided", "torch.as_strided(x, (2, 3), (8, 2))", inputs=(ROWS,))
    yield from each("contiguous", "x.permute(0, 2, 3, 1).contiguous().view(1, -1)", inputs=(IMAGE,))


def _joins_and_parts() -> Iterator[Case]:
    for rank, shape in ((2, ROWS), (3, CUBE), (4, IMAGE)):
        for dim in (1, -1):
            yield case("cat", f"torch.cat([x, y], {dim})", shape, shape, variant=f"rank {rank}, {dim=}")
    yield from each("stack", "torch.stack([x, y])", "torch.stack([x, y], -1)", inputs=(ROWS, ROWS))
    yield from each("hstack", "torch.hstack([x, y])", inputs=(ROWS, ROWS))
    yield from each("vstack", "torch.vstack([x, y])", inputs=(ROWS, ROWS))
    yield from each("dstack", "torch.dstack([x, y])", inputs=(ROWS, ROWS))
    yield from each("split", "x.split(4, dim=1)", "x.split([2, 6], dim=1)", "x.split(3, -1)", inputs=(ROWS,))
    yield from each("split", "a, b = x.split(2, dim=1)\nreturn a * b", inputs=(IMAGE,))
    yield from each("chunk", "x.chunk(2, dim=-1)", "x.chunk(3, dim=-1)[2]", inputs=(ROWS,))
    yield from each("tensor_split", "torch.tensor_split(x, 3, dim=1)", inputs=(ROWS,))
    yield from each("unbind", "x.unbind(0)", "x.unbind(1)[3]", inputs=(ROWS,))
    yield from each("narrow", "x.narrow(1, 2, 3)", inputs=(ROWS,))
    yield from each("select", "x.select(1, 2)", "x[1]", "x[:, -1]", inputs=(ROWS,))
    yield from each("slice", "x[:, 1:5]", "x[:, ::2]", "x[1:, :-1]", "x[:, 5:100]", inputs=(ROWS,))
    yield from each("slice", "x[:, :, ::2, 1::2]", "x[..., 1:-1, 1:-1]", "x[:, [0, 2]]", inputs=(IMAGE,))
    yield from each("tril", "x.tril()", "x.tril(-1)", "torch.tril(x, 2)", inputs=(ROWS,))
    yield from each("triu", "x.triu()", "torch.triu(x, 1)", inputs=(ROWS,))
    yield from each("diagonal", "torch.diagonal(x)", "x.diagonal(1)", "torch.diag(x)", inputs=(ROWS,))
    yield from each("diag_embed", "torch.diag_embed(x)", "torch.diag(x[0])", inputs=(ROWS,))
    yield from each("trace", "torch.trace(x).reshape(1)", inputs=(ROWS,))


def _gathering() -> Iterator[Case]:
    yield from each(
        "index",
        "x[self.places]",
        "x[:, self.columns]",
        "x[self.places, self.columns]",
        inputs=(ROWS,),
        init="self.places = torch.tensor([0, 2, 1]); self.columns = torch.tensor([1, 3, 7])",
    )
    yield from each(
        "index",
        "x[:, self.mask]",
        "x[torch.tril(torch.ones(3, 8)) == 1]",
        "x.repeat_interleave(self.counts, dim=1)",
        "x[:, : int(self.counts.sum())]",
        inputs=(ROWS,),
        init="self.mask = torch.tensor([1, 0, 1, 1, 0, 0, 1, 0]) > 0\n"
        "self.register_buffer('counts', torch.tensor([1, 2, 0, 1, 0, 0, 1, 0]))",
    )
    yield from each(
        "detach",
        "x.data * 2 + 1",
        "x * self.p.data",
        inputs=(ROWS,),
        init="self.p = nn.Parameter(torch.rand(8))",
    )
    yield from each(
        "index",
        "self.table[x]",
        inputs=(((2, 5), "int64"),),
        init="self.table = nn.Parameter(torch.rand(9, 4))",
    )
    yield from each(
        "index_select",
        "x.index_select(1, self.places)",
        "torch.index_select(x, 0, self.places)",
        inputs=(ROWS,),
        init="self.places = torch.tensor([2, 0])",
    )
    yield case("gather", "torch.gather(x, 1, y)", ROWS, INDEX, variant="dim=1")
    yield case("gather", "torch.gather(x, 0, y)", ROWS, INDEX, variant="dim=0")
    yield case("gather", "torch.gather(x, 2, x.argmax(2, keepdim=True))", CUBE, variant="of argmax")
    yield case("take_along_dim", "torch.take_along_dim(x, y, dim=1)", ROWS, INDEX)
    yield case("take", "torch.take(x, y)", ROWS, INDEX)
    for init, variant in (
        ("nn.Embedding(9, 4)", "plain"),
        ("nn.Embedding(9, 4, padding_idx=0)", "padding_idx"),
        ("nn.Embedding(9, 4, max_norm=1.0)", "max_norm"),
    ):
        yield case(
            "embedding", "self.layer(x)", ((1, 5), "int64"), init=f"self.layer = {init}", variant=variant
        )
    yield case(
        "embedding",
        "self.layer(x)",
        ((2, 3, 4), "int32"),
        init="self.layer = nn.Embedding(9, 4)",
        variant="int32, rank 3",
    )
    for mode in ("sum", "mean", "max"):
        init = f"self.layer = nn.EmbeddingBag(9, 4, mode='{mode}')"
        yield case("embedding_bag", "self.layer(x)", ((2, 5), "int64"), init=init, variant=mode)
    yield case("one_hot", "F.one_hot(x, 9).float()", ((2, 5), "int64"))
    yield case(
        "bucketize",
        "torch.bucketize(x, self.bounds)",
        ROWS,
        init="self.bounds = torch.tensor([-0.5, 0.0, 0.5])",
    )
    yield case(
        "searchsorted",
        "torch.searchsorted(self.bounds, x)",
        ROWS,
        init="self.bounds = torch.tensor([-0.5, 0.0, 0.5])",
    )


def _scattering() -> Iterator[Case]:
    yield case("scatter", "x.scatter(1, y, 0.5)", ROWS, INDEX, variant="a number")
    yield case("scatter", "x.scatter(1, y, z)", ROWS, INDEX, (3, 2), variant="dim=1")
    yield case("scatter_add", "x.scatter_add(1, y, z)", ROWS, INDEX, (3, 2), variant="dim=1")
    yield case("scatter_add", "x.scatter_add(0, y, z)", ROWS, INDEX, (3, 2), variant="dim=0")
    for reduction in ("sum", "mean", "amax", "amin", "prod"):
        call = f"x.scatter_reduce(1, y, z, reduce='{reduction}')"
        yield case("scatter_reduce", call, ROWS, INDEX, (3, 2), variant=reduction)
    places = "self.places = torch.tensor([0, 2])"
    yield case("index_add", "x.index_add(0, self.places, y)", ROWS, (2, 8), init=places)
    yield case("index_copy", "x.index_copy(0, self.places, y)", ROWS, (2, 8), init=places)
    yield case("index_fill", "x.index_fill(0, self.places, 0.5)", ROWS, init=places)
    for variant, statement in (
        ("a number by a mask", "x[x > 0.5] = 0.0"),
        ("rows", "x[self.places] = y"),
        ("a slice", "x[:, 1:3] = 0.5"),
        ("a slice by a tensor", "x[:2] = y"),
        ("adds", "x.index_put_((self.places,), y, accumulate=True)"),
    ):
        yield case(
            "index_put", f"x = x.clone()\n{statement}\nreturn x", ROWS, (2, 8), init=places, variant=variant
        )
    yield case("masked_scatter", "x.masked_scatter(x > 0, y)", ROWS, ROWS)
    yield case("slice_scatter", "torch.slice_scatter(x, y, 1, 2, 5)", ROWS, (3, 3))
    yield case("select_scatter", "torch.select_scatter(x, y, 0, 1)", ROWS, (8,))
    yield case("fill", "torch.full_like(x, 0.5) + x.clone().zero_() + x.clone().fill_(2)", ROWS)


def _constants() -> Iterator[Case]:
    for variant, forward in (
        ("arange", "x + torch.arange(8)"),
        ("arange with steps", "x + torch.arange(0, 4, 0.5)"),
        ("linspace", "x + torch.linspace(-1, 1, 8)"),
        ("zeros", "x + torch.zeros(3, 8)"),
        ("ones_like", "torch.ones_like(x) * x"),
        ("full", "x * torch.full((8,), 0.5)"),
        ("eye", "x @ torch.eye(8)"),
        ("tensor", "x * torch.tensor([2.0])"),
        ("new_zeros", "x + x.new_zeros(8)"),
        ("meshgrid", "a, b = torch.meshgrid(x[:, 0], x[0], indexing='ij')\nreturn a * b"),
        ("cartesian positions", "x + torch.outer(torch.arange(3.0), torch.ones(8)).sin()"),
        ("its own shape", "x.reshape(x.shape[0] * x.shape[1] // 4, 4)"),
        ("empty slice", "torch.cat([x, x[:, :0]], 1)"),
    ):
        yield case("constants", forward, ROWS, variant=variant)
