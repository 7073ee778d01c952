"""What depends on no input is known while a network is traced. Nothing is lowered here."""

import pytest
import torch
from torch.nn import functional as F

from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.lowering.branches import export_with_branches
from nnlite_conversion.pipeline.lowering.known_values import KNOWN_VALUES
from unit.conversion.networks import OfFunction

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.process]

X = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))


class Network(OfFunction):
    """A network of one function, with what these functions use."""

    def __init__(self, function):
        super().__init__(function)
        self.register_buffer("mask", torch.tensor([1, 0, 1, 1, 0, 0, 1, 0], dtype=torch.bool))
        self.register_buffer("counts", torch.tensor([1, 2, 0, 3, 1, 1, 0, 2]))
        self.register_buffer("calls", torch.tensor(3))
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 8))
        self.plain = torch.tensor([True] * 4 + [False] * 4)


def by_masks(net, x):
    made = torch.zeros(8, dtype=torch.bool)
    made[::2] |= True
    written = x.clone()
    written[:, net.mask] = written[:, ~net.mask]
    return (
        x[:, net.mask], x[:, net.plain, None], x[:, made], x[torch.triu(torch.ones_like(x)) == 1], written,
        torch.masked_select(x, net.mask), x[:, net.weight > 0], x[:, torch.nonzero(net.counts)[:, 0]],
    )  # fmt: skip


def by_masks_without_dimensions(net, x):
    flag, byte = net.mask[0], net.counts[0].to(torch.uint8)
    written = x.clone()
    written[byte] = 7
    return x[flag], x[byte, 1], x[:, byte, None], x[net.mask[1]].sum() + x, x[:, :byte], written


def by_counts(net, x):
    return (
        x.repeat_interleave(net.counts, dim=1), x.repeat_interleave(torch.tensor([2]), 1, output_size=16),
        torch.stack([x[:, net.counts == each].sum(1) for each in net.counts.unique()]),
    )  # fmt: skip


def by_numbers(net, x):
    width = int(net.counts.max()) if net.plain.any() else 1
    return x[:, :width], x[:, : net.calls], x * net.weight.max().item(), x.view(net.calls, -1)


def of_data(net, x):
    weight = net.weight.data.abs()
    return x.data * weight, F.linear(x, weight[None].data), x + torch.ones(8).data, x.clone().data.add_(1)


def of_assigned_data(net, x):
    y = x * 2
    row, other = y[0], x + 1
    y.data = other
    other.mul_(3)  # and so y, but not the row of what y was
    y[:, 0] = 7
    narrow = x * 2
    narrow.data = x[:, :2]
    net.weight.data = net.weight.data.abs()
    net.plain.data = x[0] > 0
    return y, row, narrow.reshape(-1), F.linear(x, net.weight[None]), x * net.plain


@pytest.mark.parametrize(
    "function", [by_masks, by_masks_without_dimensions, by_counts, by_numbers, of_data, of_assigned_data]
)
def test_values_that_depend_on_no_input_are_known(function):
    network = Network(function).eval()
    with torch.no_grad():
        program, names = export_with_branches(network, (X,))

        assert names == (KNOWN_VALUES,)
        assert lowering.has_fixed_sizes(program)
        for result, wanted in zip(program.module()(-2 * X), network(-2 * X), strict=True):
            torch.testing.assert_close(result, wanted)


def changed_by_the_input(net, x):
    mask = torch.zeros(8)
    part = mask[2:]
    part.add_(x[0, 2:])
    return x[:, mask > 0] + x[:, net.mask].sum()


def by_chance(net, x):
    return x[:, torch.rand(8) > 0.5] + x[:, net.mask].sum()


def changed_by_a_view_of_another_shape(net, x):
    mask = torch.zeros(8)
    mask.view_as(x[0]).add_(x[0])
    return x[:, mask > 0] + x[:, net.mask].sum()


def changed_as_statistics(net, x):
    mean, variance = torch.zeros(8), torch.ones(8)
    y = F.batch_norm(x, mean, variance, training=True, momentum=1.0)
    return y[:, mean > 0] + x[:, net.mask].sum()


def changed_by_its_data(net, x):
    mask = torch.zeros(8)
    mask.data = x[0]
    return x[:, mask > 0] + x[:, net.mask].sum()


def changed_unseen(net, x):
    mask = torch.zeros(8)
    with torch._C.DisableTorchFunction():
        mask.add_(x[0])
    return x[:, mask > 0] + x[:, net.mask].sum()


@pytest.mark.parametrize(
    "function",
    [
        changed_by_the_input,
        by_chance,
        changed_by_a_view_of_another_shape,
        changed_as_statistics,
        changed_by_its_data,
        changed_unseen,
    ],
)
def test_what_an_input_or_chance_decides_is_not_known(function):
    with torch.no_grad():
        program, names = export_with_branches(Network(function), (X,))

    unknown = [node for node in program.graph.nodes if node.target is torch.ops.aten.index.Tensor]
    assert names == (KNOWN_VALUES,)
    assert not lowering.has_fixed_sizes(program)
    assert sorted(map(lowering.has_no_size, unknown)) == [False, True]


def test_a_buffer_that_each_run_changes_is_not_known():
    network = Network(lambda net, x: x[:, : net.calls])
    with torch.no_grad():
        program, names = export_with_branches(network, (X,), changing=("calls",))

    assert names == () and not lowering.has_fixed_sizes(program)
