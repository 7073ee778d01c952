"""Deformable convolutions become gathers of their pixels and a convolution, with equal results."""

import pytest
import torch
from torchvision.ops import deform_conv2d

from unit.conversion.rewriting import assert_equal

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.process]

IMAGES = torch.randn(2, 4, 7, 9, generator=torch.Generator().manual_seed(0))


def deformed(kernel, *, groups=1, offset_groups=1, masked=False, bias=False, **options):
    draw = torch.Generator().manual_seed(1)
    weight = torch.randn(6, 4 // groups, *kernel, generator=draw)
    taps = offset_groups * kernel[0] * kernel[1]
    size = torch.nn.functional.conv2d(IMAGES, weight, groups=groups, **options).shape[2:]
    # Far beyond the border too, and in the first column exactly on pixels.
    offset = torch.randn(2, 2 * taps, *size, generator=draw) * 4
    offset[..., 0] = offset[..., 0].round()
    mask = torch.rand(2, taps, *size, generator=draw) if masked else None
    added = torch.randn(6, generator=draw) if bias else None

    return lambda x: deform_conv2d(x, offset + x.mean() * 0, weight, added, mask=mask, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"masked": True, "bias": True},
        {"groups": 2},
        {"offset_groups": 2, "masked": True},
        {"groups": 2, "offset_groups": 4, "bias": True},
        {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "masked": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("kernel", [(3, 3), (1, 2)], ids=str)
def test_a_deformable_convolution_takes_the_pixels_of_pytorch(kernel, options):
    operators = assert_equal(deformed(kernel, **options), IMAGES, ["deformable_convolution"], 5e-5)

    assert torch.ops.torchvision.deform_conv2d.default not in operators
