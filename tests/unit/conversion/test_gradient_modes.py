"""What a network computes in another gradient mode is exported as all else. Nothing is lowered here."""

import pytest
import torch

from nnlite_conversion.export_errors import of_export
from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.lowering.branches import export_with_branches
from nnlite_conversion.pipeline.lowering.gradient_modes import ComputesDerivatives
from unit.conversion.networks import OfFunction

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.process]

X = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))


class Network(OfFunction):
    """A network of one function, with what these functions use."""

    def __init__(self, function):
        super().__init__(function)
        self.layer = torch.nn.Linear(6, 6)
        self.register_buffer("mask", torch.tensor([1, 0, 1, 1, 0, 0], dtype=torch.bool))


def nested(net, x):
    with torch.enable_grad():
        y = net.layer(x)
        with torch.no_grad():
            z = y.clone().mul_(2)
        y = y + z if torch.is_grad_enabled() else y
    with torch.inference_mode():
        return y * 3


def several_results(net, x):
    changed = x * 2
    with torch.set_grad_enabled(True):
        changed[:, 0] = 7
        first, second = net.layer(changed).split(3, 1)
    return first, second, changed


@torch.enable_grad()
def decorated(net, x):
    return net.layer(x).relu(), x


def left(net, x):
    torch.set_grad_enabled(True)
    y = net.layer(x)
    torch.set_grad_enabled(False)
    return y


def known(net, x):
    with torch.enable_grad():
        return x.detach().requires_grad_()[:, net.mask] * 2


@pytest.mark.parametrize("function", [nested, several_results, decorated, left, known])
def test_gradient_modes_have_no_meaning(function):
    network = Network(function).eval()
    with torch.no_grad():
        program, _ = export_with_branches(network, (X,))
        decomposed = lowering.decompose(program)

        for result, wanted in zip(
            lowering.tensors_of(decomposed.module()(-X)), lowering.tensors_of(network(-X)), strict=True
        ):
            torch.testing.assert_close(result, wanted)
    assert not any("grad" in str(node.target) for node in program.graph.nodes)


def by_autograd(net, x):
    with torch.enable_grad():
        y = x.detach().requires_grad_()
        return torch.autograd.grad(net.layer(y).sum(), y)


def by_backward(net, x):
    with torch.enable_grad():
        y = x.detach().requires_grad_()
        net.layer(y).sum().backward()
        return y.grad


def by_functions(net, x):
    return torch.func.grad(lambda row: net.layer(row).sum())(x)


def by_tangents(net, x):
    return torch.func.jvp(net.layer, (x,), (x,))[1]


@pytest.mark.parametrize("function", [by_autograd, by_backward, by_functions, by_tangents])
def test_code_that_computes_derivatives_is_refused(function):
    with torch.no_grad(), pytest.raises(ComputesDerivatives) as raised:
        export_with_branches(Network(function).eval(), (X,))

    assert "derivatives" in of_export(raised.value).cause


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda net, x: torch.vmap(lambda row: row[row > 0])(x), "the size of torch.vmap's result depends"),
        (lambda net, x: torch.vmap(lambda row: row * row.sum().item())(x), "a number of the code depends"),
        (lambda net, x: torch.vmap(lambda row: row if row.sum() > 0 else -row)(x), "a number of the code"),
        (lambda net, x: torch.vmap(lambda row: row + torch.rand(6))(x), "the forward pass is random"),
    ],
)
def test_what_vmap_cannot_do_is_said_as_of_other_code(function, said):
    with torch.no_grad(), pytest.raises(RuntimeError) as raised:
        export_with_branches(Network(function).eval(), (X,))

    reason = of_export(raised.value)
    assert reason.cause.startswith(said) and "torch.vmap" in reason.cause and reason.remedy
    assert torch._C._functorch.maybe_current_level() is None


@pytest.mark.parametrize(
    "function",
    [
        lambda net, x: torch.vmap(lambda row: row[net.mask])(x),
        lambda net, x: torch.vmap(lambda row: row * 2)(x)[:, net.mask],
    ],
)
def test_known_values_are_known_beside_vmap(function):
    network = Network(function).eval()
    with torch.no_grad():
        program = lowering.decompose(export_with_branches(network, (X,))[0])

        torch.testing.assert_close(program.module()(-X), network(-X))
