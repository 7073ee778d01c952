"""Rewrites a network's graph and compares it with the network. Nothing is lowered."""

import torch

from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.lowering.fast_lowering import fast_lowering
from nnlite_conversion.pipeline.lowering.rewrites import apply_rewrites

IMAGE = torch.randn(1, 4, 6, 7, generator=torch.Generator().manual_seed(0))


class Network(torch.nn.Module):
    """A network that computes one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def applied(function, x):
    """Return the exported program after the rewrites before decomposition, and their names."""
    with torch.no_grad():
        program = torch.export.export(Network(function).eval(), (x,), strict=False)
        return program, apply_rewrites(program)


def rewritten(function, x, program=None):
    """Return PyTorch's outputs, those of the rewritten program, its operators, and the rewrites.

    Args:
        program: what `applied` returned; it stays as it is. None: it is made here.
    """
    with torch.no_grad():
        wanted = lowering.tensors_of(Network(function).eval()(x.clone()))
        program = program or applied(function, x)[0]
        with fast_lowering():  # as conversions do, in a third of the time
            program, names = lowering.rewritten(lowering.decompose(program))
        results = lowering.tensors_of(program.module()(x))
    return wanted, results, {node.target for node in program.graph.nodes}, names


def assert_equal(function, x, rewrites, tolerance=2e-5):
    wanted, results, operators, names = rewritten(function, x)
    assert set(names) == set(rewrites)
    for one, other in zip(wanted, results, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(
            other.float(), one.float(), atol=tolerance, rtol=tolerance, check_stride=False
        )
    return operators
