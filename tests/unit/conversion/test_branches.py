"""Branches on values of the input are exported with both sides computed, where a result can be chosen."""

import pytest
import torch

from nnlite_conversion.pipeline.lowering.branch_code import CHOICE
from nnlite_conversion.pipeline.lowering.branches import export_with_branches

SIDE = 4
_last = torch.zeros(1, SIDE)


class Experts(torch.nn.Module):
    """Adds the results of the experts that a gate chooses, as LEMUR's mixtures of experts do."""

    def __init__(self):
        super().__init__()
        self.gate = torch.nn.Linear(SIDE, SIDE)
        self.experts = torch.nn.ModuleList(torch.nn.Linear(SIDE, SIDE) for _ in range(SIDE))

    def forward(self, x):
        try:
            chosen = torch.topk(self.gate(x), 2).indices
            total = torch.zeros_like(x)
            also_total = total
            for number, expert in enumerate(self.experts):
                mask = (chosen == number).any(dim=1)
                if mask.any():
                    of_expert = expert(x)
                    total += of_expert
            return also_total
        except RuntimeError as error:
            if "out of memory" not in str(error):
                raise error
            return None


class Assigning(torch.nn.Module):
    def forward(self, x):
        count, parts = 1, (x, x + 1)
        if not x.sum() > 0:
            parts = (x - 1, x * 2)
            (part, *_), count = parts, 1
        elif (x.amax() > 0.5) | (x.amin() < -1):
            part = parts[0] + 1
            part[:, 1] += 2.0
            parts = (part, part)
        else:
            pass
        for _ in range(2):
            if x[0, 0] > 0:
                if x[0, 1] > 0:
                    x = x * 3
                for step in range(2):
                    x = x + step
        return parts[0] * count + parts[1] + (x if not x.mean() < 0.2 else x.sin())


class Calling(torch.nn.Module):
    def forward(self, x):
        return x * _absolute(x.sum())


def _absolute(number):
    return number if number > 0 else -number


def exported(network, x):
    with torch.no_grad():
        return export_with_branches(network, (x,))


@pytest.mark.parametrize("network", [Experts, Assigning, Calling])
def test_both_branches_are_computed_and_the_results_are_those_of_the_network(network):
    torch.manual_seed(0)
    network = network().eval()
    code = type(network).forward.__code__

    program, changed = exported(network, torch.randn(1, SIDE))

    assert changed == ("both_branches",)
    assert type(network).forward.__code__ is code
    assert CHOICE not in globals()
    for _ in range(40):
        x = torch.randn(1, SIDE)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(x), network(x))


def test_a_network_without_such_branches_is_exported_as_it_is():
    program, changed = exported(torch.nn.Linear(SIDE, 1), torch.zeros(1, SIDE))

    assert not changed
    assert program.graph.find_nodes(op="call_function", target=torch.ops.aten.linear.default)


class Returning(torch.nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        return -x


class Appending(torch.nn.Module):
    def forward(self, x):
        parts = [x]
        if x.sum() > 0:
            parts.append(x)
        return torch.cat(parts)


class Growing(torch.nn.Module):
    def forward(self, x):
        parts = [x]
        if x.sum() > 0:
            parts += [x]
        return torch.cat(parts)


class ChangingInPlace(torch.nn.Module):
    """Its activation changes the input, which is not assigned."""

    def __init__(self):
        super().__init__()
        self.activation = torch.nn.ReLU(inplace=True)

    def forward(self, x):
        y = x * 2
        z = x
        if x.sum() > 0:
            z = self.activation(y)
        return y + z


class ChangingInOneExpression(torch.nn.Module):
    def forward(self, x):
        y = x * 2
        return (y.relu_() if x.sum() > 0 else x) + y


class ReadingAnAlias(torch.nn.Module):
    def forward(self, x):
        y = x * 2
        same, z = y, x
        if x.sum() > 0:
            y += 1
            z = same * 2
        return y + z


class ReadingAView(torch.nn.Module):
    def forward(self, x):
        y = x * 2
        flat, z = y.view(-1), x
        if x.sum() > 0:
            flat[0] = 1
            z = y + 1
        return z + flat[0]


class Remembering(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def called(self, x):
        self.calls += 1
        return x * self.calls

    def forward(self, x):
        self.calls = 0
        if x.sum() > 0:
            x = self.called(x)
        return self.called(x)


class Declaring(torch.nn.Module):
    def forward(self, x):
        global _last
        if x.sum() > 0:
            _last = x
        return x + _last


class Shaping(torch.nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            x = x[:, 1:]
        return x


class Replacing(torch.nn.Module):
    def forward(self, x):
        y = x + 1
        if x.sum() > 0:
            y += 1
        else:
            y = x
        return y


class Repeating(torch.nn.Module):
    def forward(self, x):
        while x.sum() > 1:
            x = x / 2
        return x


class Counting(torch.nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            x = x * 2
        return x[:, : 1 + int(x.amax() > 0)]


@pytest.mark.parametrize(
    "network",
    [
        ChangingInPlace,
        ChangingInOneExpression,
        ReadingAnAlias,
        ReadingAView,
        Remembering,
        Declaring,
        Returning,
        Appending,
        Growing,
        Shaping,
        Replacing,
        Repeating,
        Counting,
    ],
    ids=lambda each: each.__name__,
)
def test_what_cannot_be_chosen_is_refused_as_without_changes(network):
    code = network.forward.__code__

    with pytest.raises(Exception, match=r"data-dependent|unbacked"):
        exported(network().eval(), torch.ones(1, SIDE))

    assert network.forward.__code__ is code
