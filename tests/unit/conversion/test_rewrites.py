"""Rewrites compute the same numbers and change only the operators that cannot be lowered."""

import multiprocessing

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nnlite_conversion import cache_key
from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.lowering.known_values import KNOWN_VALUES
from nnlite_conversion.pipeline.lowering.rewrites import OPERATORS, REWRITES, apply_rewrites
from nnlite_conversion.pipeline.verifying.parity import HostArtifact

pytestmark = pytest.mark.filterwarnings("ignore")


class Pool(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return F.adaptive_max_pool2d(x, self.size)


class PoolOneDimension(torch.nn.Module):
    def forward(self, x):
        return F.adaptive_max_pool1d(x.flatten(2), 4)


class PoolUnbatched(torch.nn.Module):
    def forward(self, x):
        return F.adaptive_max_pool2d(x[0], (3, 2))


class Linear(torch.nn.Module):
    """Applies a layer to the input reshaped to `shape`."""

    def __init__(self, shape, bias=True):
        super().__init__()
        self.shape, self.layer = shape, torch.nn.Linear(shape[-1], 5, bias=bias)

    def forward(self, x):
        return self.layer(x.reshape(self.shape))


def exported(network, image):
    return torch.export.export(network.eval(), (image,), strict=False)


def operators(program):
    return {str(node.target) for node in program.graph.nodes if node.op == "call_function"}


@pytest.mark.parametrize(
    "network",
    [Pool((2, 3)), Pool(1), Pool((5, 4)), Pool((7, 1)), Pool((8, 9)), PoolOneDimension(), PoolUnbatched()],
    ids=["divides", "global", "uneven", "one uneven", "same size", "one dimension", "no batch"],
)
def test_adaptive_max_pooling_is_replaced_by_equal_operators(network):
    image = torch.randn(1, 3, 8, 9)
    program = exported(network, image)

    assert apply_rewrites(program) == ("adaptive_max_pool2d",)

    assert not any("adaptive" in operator for operator in operators(program))
    assert torch.equal(program.module()(image), network(image))


def test_pooling_whose_output_size_divides_the_input_size_becomes_max_pool2d():
    program = exported(Pool((4, 3)), torch.randn(1, 3, 8, 9))

    apply_rewrites(program)

    assert operators(program) == {"aten.max_pool2d.default"}


@pytest.mark.parametrize("shape", [(1, 6, 4, 9), (1, 2, 3, 4, 9), (2, 2, 3, 1, 2, 9)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_on_more_than_three_dimensions_is_replaced_by_an_equal_convolution(shape, bias):
    network, image = Linear(shape, bias), torch.randn(1, 3, 8, 9)
    program = exported(network, image)

    assert apply_rewrites(program) == ("high_rank_linear",)

    assert "aten.linear.default" not in operators(program)
    torch.testing.assert_close(program.module()(image), network(image))


@pytest.mark.parametrize("shape", [(24, 9), (1, 24, 9)])
def test_linear_on_up_to_three_dimensions_is_not_rewritten(shape):
    assert apply_rewrites(exported(Linear(shape), torch.randn(1, 3, 8, 9))) == ()


class Convolution(torch.nn.Module):
    """Convolves by weights that `of` makes of a parameter and the image."""

    def __init__(self, of, convolve=F.conv2d, **arguments):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3, 3, 3, 2))
        self.of, self.convolve, self.arguments = of, convolve, arguments

    def forward(self, x):
        return self.convolve(x, self.of(self.weight, x.mean()), **self.arguments)


COMPUTED = {
    "times": Convolution(torch.mul, bias=torch.ones(3), stride=2, padding=1),
    "sigmoid": Convolution(lambda weight, mean: (weight + mean).sigmoid(), padding="same"),
    "groups": Convolution(lambda weight, mean: (weight * mean)[:, :1], groups=3),
    "transposed": Convolution(torch.mul, F.conv_transpose2d, stride=2),
}


def converted(name, path):
    """Lower a network; return its rewrites, the artifact's output for an image, and its own."""
    module, image = lowering.ChannelsLast(COMPUTED[name]), torch.randn(1, 8, 9, 3)
    with torch.no_grad():
        program = lowering.export(module, (image,))
        rewrites = apply_rewrites(program)
        lowering.lower(program, module, (image,), path)
        (output,) = HostArtifact(path, 1).run([image.numpy()])
        return rewrites, output, module(image).numpy()


@pytest.fixture(scope="module")
def other_process():
    """A process of their own for conversions: one that used jax must not fork."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        yield pool


@pytest.mark.parametrize("name", COMPUTED)
def test_weights_that_are_computed_from_an_input_are_lowered_in_their_layout(name, other_process, tmp_path):
    rewrites, output, expected = other_process.apply(converted, (name, tmp_path / "fp32.tflite"))

    assert rewrites == ("computed_weights",)
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "of", [lambda weight, mean: weight * weight, lambda weight, mean: (weight * mean).view(weight.shape)]
)
def test_weights_of_parameters_or_reshaped_ones_are_not_rewritten(of):
    assert apply_rewrites(exported(Convolution(of), torch.randn(1, 3, 8, 9))) == ()


def test_keys_name_rewrites_that_exist():
    names = {rewrite.__name__ for rewrite in (*REWRITES, *OPERATORS.values())}
    assert {*cache_key.REWRITES, *cache_key.REVISIONS} <= {*names, KNOWN_VALUES}


def test_only_models_that_a_revised_rewrite_may_change_have_other_keys():
    plain = cache_key.revised_rewrites("def forward(self, x): return self.layer(x)")
    affected = cache_key.revised_rewrites("def forward(self, x): return F.interpolate(x, size=7)")
    gated = cache_key.revised_rewrites("def forward(self, x): return x * self.gate(x).expand_as(x)")

    assert plain == () and affected == ("nearest_by_index-1",) and gated == ("needless_expand-1",)
    quotient = cache_key.revised_rewrites("return x // self.step  # as https://example.org")
    comment = cache_key.revised_rewrites("return x / self.step  # as https://example.org")
    assert quotient == ("rounded_quotient-2",) and comment == ()
    setting, forward = "def set(self, x):\n self.p.data = x\n", "def forward(self, x):\n return x\n\n"
    assert cache_key.revised_rewrites(forward + setting) == ()
    assert cache_key.revised_rewrites(forward + setting.replace("set(", "forward(")) == ("known_values-1",)
    within_timm = cache_key.revised_rewrites("timm.create_model('coat_mini')")
    other = cache_key.revised_rewrites("timm.create_model('coat_lite_mini')")
    assert {*within_timm} - {*other} == {"bilinear_by_index-1"}
    every = tuple(f"{name}-{each.version}" for name, each in sorted(cache_key.REVISIONS.items()))
    assert cache_key.revised_rewrites(None) == every, "nobody knows what a file without code contains"
    assert cache_key.cache_key("a", "fp32", revised=plain) == cache_key.cache_key("a", "fp32")
    assert cache_key.cache_key("a", "fp32", revised=affected) != cache_key.cache_key("a", "fp32")


def test_tensors_are_found_in_nested_outputs_depth_first():
    a, b, c = (torch.full((1,), value) for value in (1.0, 2.0, 3.0))

    tensors = lowering.tensors_of({"out": a, "aux": [b, None, (c,)]})

    assert [tensor.item() for tensor in tensors] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("text", "returns a str"),
        ([], "no tensor"),
        (None, "no tensor"),
        (torch.zeros(1, dtype=torch.complex64), "complex"),
    ],
)
def test_outputs_that_are_not_tensors_are_refused_with_their_type(output, reason):
    with pytest.raises(lowering.NotTensors, match=reason):
        lowering.tensors_of(output)
