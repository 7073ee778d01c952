"""Operators of images, and of signals and volumes: convolution, pooling, normalization, resizing, padding."""

from collections.abc import Iterator

from atlas.case import Case, case, each

#: An input with four channels, by the number of its dimensions in space.
SPACE = {1: (1, 4, 16), 2: (1, 4, 8, 10), 3: (1, 4, 6, 6, 6)}


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _convolutions()
    yield from _transposed_convolutions()
    yield from _pools()
    yield from _norms()
    yield from _resizing()
    yield from _padding()


def _convolutions() -> Iterator[Case]:
    for rank, shape in SPACE.items():
        for options in (
            "1",
            "1, stride=2",
            "3",
            "3, padding=1",
            "3, stride=2",
            "3, stride=2, padding=1",
            "3, padding='same'",
            "3, padding='valid', bias=False",
            "3, dilation=2",
            "3, padding='same', dilation=2",
            "3, groups=2",
            "3, groups=4, padding=1",
            "3, groups=4, stride=2, padding=1",
            "3, padding=1, padding_mode='reflect'",
            "3, padding=1, padding_mode='replicate'",
            "3, padding=1, padding_mode='circular'",
        ):
            init = f"self.layer = nn.Conv{rank}d(4, 8, {options})"
            yield case(f"conv{rank}d", "self.layer(x)", shape, init=init, variant=options)
    yield case(
        "conv2d",
        "F.conv2d(x, y)",
        SPACE[2],
        (3, 4, 3, 3),
        variant="weights are an input",
    )
    init = "self.layer = nn.Conv2d(4, 8, (3, 1), stride=(1, 2), padding=(1, 0))"
    yield case("conv2d", "self.layer(x)", SPACE[2], init=init, variant="3x1, stride 1x2, padding 1x0")
    yield case(
        "conv2d", "self.layer(x)", (2, 4, 8, 8), init="self.layer = nn.Conv2d(4, 8, 3)", variant="batch of 2"
    )


def _transposed_convolutions() -> Iterator[Case]:
    for rank, shape in SPACE.items():
        for options in (
            "2",
            "2, stride=2",
            "3, padding=1",
            "3, stride=2, padding=1, output_padding=1",
            "4, stride=2, padding=1, bias=False",
            "3, dilation=2",
            "3, groups=2",
            "3, groups=4, stride=2",
            "2, groups=2, stride=2",
            "3, stride=2, dilation=2, padding=1, output_padding=1",
            "3, stride=2, dilation=2, groups=2",
            *(
                f"{kernel}, stride={stride}, padding={padding}"
                for kernel in (2, 3, 4, 5)
                for stride in (2, 3)
                for padding in range(kernel + 1)
                if (kernel, stride, padding) != (2, 2, 0)
            ),
        ):
            init = f"self.layer = nn.ConvTranspose{rank}d(4, 8, {options})"
            yield case(f"conv_transpose{rank}d", "self.layer(x)", shape, init=init, variant=options)
    for options in (
        "3, stride=(2, 1)",
        "3, stride=(2, 1), padding=1",
        "3, stride=(1, 2), padding=(0, 1)",
        "(3, 5), stride=(1, 2), padding=(1, 3)",
        "3, stride=(1, 3), groups=2",
        "(4, 2), stride=(1, 2), padding=(2, 1), groups=2",
    ):
        init = f"self.layer = nn.ConvTranspose2d(4, 8, {options})"
        yield case("conv_transpose2d", "self.layer(x)", SPACE[2], init=init, variant=options)


def _pools() -> Iterator[Case]:
    for rank, shape in SPACE.items():
        for options in (
            "2",
            "3",
            "3, stride=2",
            "3, stride=2, padding=1",
            "3, stride=2, ceil_mode=True",
        ):
            yield case(f"max_pool{rank}d", f"F.max_pool{rank}d(x, {options})", shape, variant=options)
            yield case(f"avg_pool{rank}d", f"F.avg_pool{rank}d(x, {options})", shape, variant=options)
        dilated = "3, stride=1, dilation=2"
        yield case(f"max_pool{rank}d", f"F.max_pool{rank}d(x, {dilated})", shape, variant=dilated)
        uncounted = "3, stride=2, padding=1, count_include_pad=False"
        yield case(f"avg_pool{rank}d", f"F.avg_pool{rank}d(x, {uncounted})", shape, variant=uncounted)
        for size in (1, 2, 3):
            for kind in ("avg", "max"):
                call = f"F.adaptive_{kind}_pool{rank}d(x, {size})"
                yield case(f"adaptive_{kind}_pool{rank}d", call, shape, variant=f"to {size}")
    yield case("adaptive_avg_pool2d", "F.adaptive_avg_pool2d(x, (None, 1))", SPACE[2])
    for sizes in ("4", "(2, 2, 5)", "(None, 4, 1)", "7"):
        for kind in ("avg", "max"):
            call = f"F.adaptive_{kind}_pool3d(x, {sizes})"
            yield case(f"adaptive_{kind}_pool3d", call, SPACE[3], variant=f"to {sizes}")
    yield case("avg_pool2d", "F.avg_pool2d(x, 2, divisor_override=3)", SPACE[2])
    beyond = "4, stride=3, padding=1, ceil_mode=True, count_include_pad=False"
    yield case("avg_pool3d", f"F.avg_pool3d(x, {beyond})", SPACE[3], variant=beyond)
    yield case("lp_pool2d", "F.lp_pool2d(x.abs() + 0.1, 2, 2)", SPACE[2])
    yield from _indices()
    yield case("fractional_max_pool2d", "F.fractional_max_pool2d(x, 2, output_size=3)", SPACE[2])


def _indices() -> Iterator[Case]:
    yield case("max_pool2d_with_indices", "F.max_pool2d(x, 2, return_indices=True)[1]", SPACE[2])
    padded = "3, stride=2, padding=1"
    for rank, shape in SPACE.items():
        call = f"F.max_pool{rank}d(x, {padded}, return_indices=True)[1]"
        yield case(f"max_pool{rank}d_with_indices", call, shape, variant=padded)
        forward = f"p, i = F.max_pool{rank}d(x, 2, return_indices=True)\nreturn F.max_unpool{rank}d(p, i, 2)"
        yield case(f"max_unpool{rank}d", forward, shape, variant="" if rank == 2 else "2")
    forward = (
        "p, i = F.max_pool2d(x, 3, ceil_mode=True, return_indices=True)\n"
        "return F.max_unpool2d(p, i, 3, output_size=x.shape[2:])"
    )
    yield case("max_unpool2d", forward, SPACE[2], variant="3, ceil_mode=True")

    for rank, shape in SPACE.items():
        for size in ("2", "5"):
            call = f"F.adaptive_max_pool{rank}d(x, {size}, return_indices=True)[1]"
            yield case(f"adaptive_max_pool{rank}d_with_indices", call, shape, variant=f"to {size}")
    forward = (
        "p, i = F.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)\n"
        "return F.max_unpool2d(p * 2, i, 3, 2, 1, output_size=x.shape[2:])"
    )
    yield case("max_unpool2d", forward, SPACE[2], variant="3, stride=2, padding=1")


def _norms() -> Iterator[Case]:
    for rank, shape in SPACE.items():
        scaled = "self.layer = nn.BatchNorm{0}d(4); self.layer.running_var.fill_(2.0)"
        yield case("batch_norm", "self.layer(x)", shape, init=scaled.format(rank), variant=f"{rank}d")
        for affine in (False, True):
            init = f"self.layer = nn.InstanceNorm{rank}d(4, affine={affine})"
            yield case("instance_norm", "self.layer(x)", shape, init=init, variant=f"{rank}d, {affine=}")
        for groups in (1, 2, 4):
            init = f"self.layer = nn.GroupNorm({groups}, 4)"
            yield case("group_norm", "self.layer(x)", shape, init=init, variant=f"{rank}d, {groups=}")
    for shape in ((3, 8), (1, 5, 8), (1, 4, 6, 8)):
        rank = len(shape)
        init = f"self.layer = nn.LayerNorm({shape[-1]})"
        yield case("layer_norm", "self.layer(x)", shape, init=init, variant=f"rank {rank}, last")
        forward = f"F.layer_norm(x, {shape[1:]})"
        yield case("layer_norm", forward, shape, variant=f"rank {rank}, all but the batch, no weights")
        init = f"self.layer = nn.RMSNorm({shape[-1]})"
        yield case("rms_norm", "self.layer(x)", shape, init=init, variant=f"rank {rank}")
    yield from each("local_response_norm", "F.local_response_norm(x, 3)", inputs=(SPACE[2],))
    yield from each(
        "normalize",
        "F.normalize(x, dim=1)",
        "F.normalize(x, p=1.0, dim=-1)",
        inputs=(SPACE[2],),
    )
    init = "self.layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3))"
    yield case("conv2d", "self.layer(x)", SPACE[2], init=init, variant="weight_norm")
    yield case("dropout", "F.dropout2d(F.dropout(x, 0.5, self.training), 0.5, self.training)", SPACE[2])


def _resizing() -> Iterator[Case]:
    for mode, rank in (("linear", 1), ("bilinear", 2), ("trilinear", 3), ("bicubic", 2)):
        operator = f"upsample_{mode}{rank}d"
        for options in (
            "scale_factor=2.0",
            "scale_factor=0.5",
            "scale_factor=1.5",
            "size=7",
            "scale_factor=1.3",
            "scale_factor=0.7",
            "scale_factor=1.3, recompute_scale_factor=True",
        ):
            for aligned in (False, True):
                call = f"F.interpolate(x, {options}, mode='{mode}', align_corners={aligned})"
                yield case(operator, call, SPACE[rank], variant=f"{options}, align_corners={aligned}")
    for rank, shape in SPACE.items():
        for mode in ("nearest", "nearest-exact"):
            operator = f"upsample_{mode.replace('-', '_')}{rank}d"
            for options in ("scale_factor=2.0", "scale_factor=0.5", "scale_factor=1.5", "size=7"):
                call = f"F.interpolate(x, {options}, mode='{mode}')"
                yield case(operator, call, shape, variant=options)
    call = "F.interpolate(x, scale_factor=0.5, mode='bilinear', antialias=True)"
    yield case("_upsample_bilinear2d_aa", call, SPACE[2], variant="scale_factor=0.5")
    yield case("adaptive_avg_pool2d", "F.interpolate(x, size=5, mode='area')", SPACE[2])
    yield from each(
        "pixel_shuffle",
        "F.pixel_shuffle(x, 2)",
        "F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2)",
        inputs=(SPACE[2],),
    )
    yield from each("pixel_unshuffle", "F.pixel_unshuffle(x, 2)", inputs=(SPACE[2],))
    yield from each("channel_shuffle", "F.channel_shuffle(x, 2)", inputs=(SPACE[2],))
    grid = (1, 5, 6, 2)
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            call = f"F.grid_sample(x, y, mode='{mode}', padding_mode='{padding}', align_corners=False)"
            # The grid is no image: three dimensions, so that it is not taken for one.
            forward = f"y = y.reshape({grid})\nreturn {call}"
            yield case("grid_sampler", forward, SPACE[2], (1, 30, 2), variant=f"{mode}, {padding}")
        call = f"F.grid_sample(x, 3 * y, mode='{mode}', padding_mode='reflection', align_corners=True)"
        forward = f"y = y.reshape({grid})\nreturn {call}"
        variant = f"{mode}, reflection, aligned, far beyond"
        yield case("grid_sampler", forward, SPACE[2], (1, 30, 2), variant=variant)
    forward = "F.grid_sample(x, F.affine_grid(y, (1, 4, 5, 6), align_corners=True), align_corners=True)"
    yield case("affine_grid_generator", forward, SPACE[2], (1, 2, 3))


def _padding() -> Iterator[Case]:
    for rank, shape in SPACE.items():
        widths = (1, 2) * rank
        for mode in ("constant", "reflect", "replicate", "circular"):
            yield case("pad", f"F.pad(x, {widths}, mode='{mode}')", shape, variant=f"{mode}, {rank}d")
    yield from each(
        "pad",
        "F.pad(x, (1, 1, 1, 1), value=2.5)",
        "F.pad(x, (-1, -1, -1, -1))",
        "F.pad(x, (0, 0, 1, 1, 0, 2))",
        "F.pad(x, (0, 1), value=float('-inf')).amax(-1)",
        inputs=(SPACE[2],),
    )
    yield from each("pad", "F.pad(x, (1, 2, 0, 1))", "F.pad(x, (1,) * 12)", inputs=((1, 2, 3, 2, 3, 4),))
    yield from each("im2col", "F.unfold(x, 3)", "F.unfold(x, 3, stride=2, padding=1)", inputs=(SPACE[2],))
    yield case("col2im", "F.fold(x, (6, 6), 3, stride=3)", (1, 36, 4))
    yield case("col2im", "F.fold(x, (5, 5), 3)", (1, 36, 9), variant="overlapping")
