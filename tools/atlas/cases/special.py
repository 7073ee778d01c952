"""Operators of audio and detection, and those that artifacts cannot have: sorting, sizes by value, chance."""

from collections.abc import Iterator

from atlas.case import Case, case, each

ROWS, SIGNAL, IMAGE, BOXES = (3, 8), (1, 64), (1, 4, 8, 8), (5, 4)
_PROPER = "b = torch.cat([x[:, :2].abs(), x[:, :2].abs() + x[:, 2:].abs() + 0.1], 1) * 4\n"


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _audio()
    yield from _detection()
    yield from _sorting()
    yield from _by_value()
    yield from _random()
    yield from _linear_algebra()
    yield from _buffers()


def _buffers() -> Iterator[Case]:
    for dtype in ("uint8", "uint16", "int8", "int16", "bool", "float64", "half"):
        init = (
            f"self.register_buffer('used', torch.ones(8, dtype=torch.{dtype}))\n"
            f"self.register_buffer('unused', torch.ones((), dtype=torch.{dtype}))"
        )
        yield case("buffer", "x * self.used.float()", ROWS, init=init, variant=dtype)


def _audio() -> Iterator[Case]:
    window = "self.window = torch.hann_window(16)"
    stft = "torch.stft(x, 16, 8, window=self.window, return_complex=True)"
    yield case("stft", f"{stft}.abs()", SIGNAL, init=window, variant="magnitude")
    yield case("stft", f"torch.view_as_real({stft})", SIGNAL, init=window, variant="real and imaginary")
    yield case(
        "stft",
        f"{stft.replace('return', 'center=False, return')}.abs() ** 2",
        SIGNAL,
        init=window,
        variant="power, not centered",
    )
    yield case("istft", f"s = {stft}\nreturn torch.istft(s, 16, 8, window=self.window)", SIGNAL, init=window)
    for call in (
        "rfft(x).abs()",
        "fft(x).abs()",
        "rfft(x, norm='ortho').real",
        "irfft(torch.fft.rfft(x))",
        "ifft(torch.fft.fft(x)).real",
        "fftshift(x)",
    ):
        yield case(f"fft_{call.partition('(')[0]}", f"torch.fft.{call}", SIGNAL)
    for call in ("rfft2(x).abs()", "irfft2(torch.fft.rfft2(x) * 0.5)", "fft2(x).real"):
        yield case(f"fft_{call.partition('(')[0]}", f"torch.fft.{call}", IMAGE)
    yield case(
        "complex",
        "torch.view_as_real(torch.complex(x, y) * torch.complex(y, x))",
        ROWS,
        ROWS,
        variant="product",
    )
    yield case("complex", "torch.polar(x.abs(), y).real", ROWS, ROWS, variant="polar")
    yield case("complex", "torch.angle(torch.complex(x, y))", ROWS, ROWS, variant="angle")
    yield from each("conj", "torch.fft.fft(x).conj().imag", "torch.fft.ihfft(x).imag", inputs=(ROWS,))
    mel = "self.bank = nn.Parameter(torch.rand(5, 9)); self.window = torch.hann_window(16)"
    yield case(
        "stft",
        f"(self.bank @ ({stft}.abs() ** 2)).clamp(min=1e-5).log()",
        SIGNAL,
        init=mel,
        variant="log-mel",
    )


def _detection() -> Iterator[Case]:
    yield case("nms", f"{_PROPER}return torchvision.ops.nms(b, y, 0.5)", BOXES, (5,))
    for call, variant in (
        ("box_area(b)", "area"),
        ("box_iou(b, b)", "iou"),
        ("generalized_box_iou(b, b)", "giou"),
        ("box_convert(b, 'xyxy', 'cxcywh')", "to centers"),
        ("clip_boxes_to_image(b, (4, 4))", "clipped"),
    ):
        yield case("boxes", f"{_PROPER}return torchvision.ops.{call}", BOXES, variant=variant)
    rois = "r = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0], [0.0, 2.0, 2.0, 6.0, 7.0]])\nreturn "
    yield case("roi_align", f"{rois}torchvision.ops.roi_align(x, r, 2, sampling_ratio=2)", IMAGE)
    moved = "r = torch.cat([torch.zeros(2, 1), y.abs() * 6], 1)\nreturn "
    call = f"{moved}torchvision.ops.roi_align(x, r, (3, 2), 0.5, 2, aligned=True)"
    yield case("roi_align", call, IMAGE, (2, 4), variant="computed regions, aligned")
    yield case("roi_align", f"{rois}torchvision.ops.roi_align(x, r, 2)", IMAGE, variant="no sampling_ratio")
    yield case("roi_pool", f"{rois}torchvision.ops.roi_pool(x, r, 2)", IMAGE)
    init = (
        "self.offsets = nn.Conv2d(4, 18, 3, padding=1)\n"
        "self.layer = torchvision.ops.DeformConv2d(4, 4, 3, padding=1)"
    )
    yield case("deform_conv2d", "self.layer(x, self.offsets(x))", IMAGE, init=init)
    init += "\nself.masks = nn.Conv2d(4, 9, 3, padding=1)"
    forward = "self.layer(x, 3 * self.offsets(x), self.masks(x).sigmoid())"
    yield case("deform_conv2d", forward, IMAGE, init=init, variant="with a mask")
    init = (
        "self.offsets = nn.Conv2d(4, 36, 3, stride=2)\n"
        "self.layer = torchvision.ops.DeformConv2d(4, 6, 3, stride=2, groups=2, bias=False)"
    )
    variant = "stride=2, groups=2, two groups of offsets"
    yield case("deform_conv2d", "self.layer(x, self.offsets(x))", IMAGE, init=init, variant=variant)
    init = "self.layer = torchvision.ops.FrozenBatchNorm2d(4)"
    yield case("FrozenBatchNorm2d", "self.layer(x)", IMAGE, init=init)
    init = "self.layer = torchvision.ops.SqueezeExcitation(4, 2)"
    yield case("SqueezeExcitation", "self.layer(x)", IMAGE, init=init)
    yield case("stochastic_depth", "torchvision.ops.stochastic_depth(x, 0.5, 'row', self.training)", IMAGE)


def _sorting() -> Iterator[Case]:
    yield from each(
        "topk",
        "torch.topk(x, 3)[0]",
        "torch.topk(x, 3)",
        "torch.topk(x, 1, dim=0)[0]",
        "torch.topk(x, 2, largest=False)[0]",
        "torch.topk(x, 8)[0]",
        inputs=(ROWS,),
    )
    yield from each("sort", "torch.sort(x)[0]", "torch.sort(x, dim=0, descending=True)[0]", inputs=(ROWS,))
    yield from each("argsort", "torch.argsort(x)", inputs=(ROWS,))
    yield from each("median", "torch.median(x, dim=-1)[0]", inputs=(ROWS,))
    yield from each("kthvalue", "torch.kthvalue(x, 2)[0]", inputs=(ROWS,))
    yield from each("mode", "torch.mode(x.round(), dim=-1)[0]", inputs=(ROWS,))
    yield from each("quantile", "torch.quantile(x, 0.5, dim=-1)", inputs=(ROWS,))


def _by_value() -> Iterator[Case]:
    yield from each("nonzero", "torch.nonzero(x > 0)", inputs=(ROWS,))
    yield from each("masked_select", "torch.masked_select(x, x > 0)", inputs=(ROWS,))
    yield from each("unique", "torch.unique(x.round())", inputs=(ROWS,))
    yield from each("bincount", "torch.bincount(x.flatten().abs())", inputs=(((3, 8), "int64"),))
    yield case("where", "torch.where(x > 0)[0]", ROWS, variant="one argument")
    yield case("item", "x[: int(y.sum().abs().item()) + 1]", ROWS, (2,), variant="a size")
    yield case("item", "x * 2 if x.sum() > 0 else x", ROWS, variant="a branch")
    yield case("cond", "torch.cond(x.sum() > 0, lambda t: t * 2, lambda t: t - 1, (x,))", ROWS)


def _random() -> Iterator[Case]:
    for operator, call in (
        ("rand_like", "x + torch.rand_like(x)"),
        ("randn", "x + torch.randn(3, 8)"),
        ("dropout", "F.dropout(x)"),
        ("bernoulli", "torch.bernoulli(x.abs())"),
        ("multinomial", "torch.multinomial(x.abs() + 0.1, 2)"),
        ("gumbel_softmax", "F.gumbel_softmax(x)"),
    ):
        yield case(operator, call, ROWS)


def _linear_algebra() -> Iterator[Case]:
    square = "m = x @ x.T + 4 * torch.eye(3)\nreturn "
    for operator in ("inv", "det", "cholesky", "svdvals", "eigvalsh"):
        call = f"torch.linalg.{operator}(m)"
        yield case(
            f"linalg_{operator}", f"{square}{call if operator != 'det' else f'{call}.reshape(1)'}", ROWS
        )
    yield case("linalg_solve", f"{square}torch.linalg.solve(m, x)", ROWS)
    yield case("linalg_qr", f"{square}torch.linalg.qr(m)[1]", ROWS)
    yield case("linalg_matrix_power", f"{square}torch.linalg.matrix_power(m, 3)", ROWS)
