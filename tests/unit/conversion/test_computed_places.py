"""torchvision's operators that take pixels from computed places become gathers, with equal results."""

import pytest
import torch
from torchvision.ops import deform_conv2d, roi_align

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


#: Within the images, beyond their borders, without an area, and upside down.
REGIONS = torch.tensor(
    [
        [0, 1.3, 0.7, 6.1, 5.9], [1, -2, -3, 12, 9], [1, 0, 0, 9, 7],
        [0, -1, -1, 9, 7], [1, 3, 2, 3, 2], [0, 7, 5, 2, 1],
    ]
)  # fmt: skip


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("samples", [1, 3])
def test_regions_are_aligned_as_by_pytorch(aligned, samples):
    def function(x):
        regions = REGIONS + x.mean() * 0
        return roi_align(x, regions, (2, 3), 1.0, samples, aligned), roi_align(x, regions, 2, 0.5, samples)

    assert_equal(function, IMAGES, ["regions_by_index"])


def test_regions_whose_size_decides_on_the_number_of_samples_stay():
    assert_equal(lambda x: roi_align(x, REGIONS, 2), IMAGES, [])
