"""Retracing gives the same artifact as torch's decomposition, and is used only where that is verified."""

import pytest
import torch
from torch.export import ExportedProgram

from integration.conversion.models import CLASSIFIER, network
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.pipeline.lowering import fast_decomposition
from nnlite_conversion.pipeline.lowering import lower as lowering

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

CONVOLUTIONS = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3),
    torch.nn.ReLU(),
    torch.nn.MaxPool2d(2),
    torch.nn.AdaptiveAvgPool2d(1),
    torch.nn.Flatten(),
    torch.nn.Linear(4, 2),
)


@pytest.fixture
def decomposed():
    """Return a function from a network to its program after the first decomposition."""

    def make(module: torch.nn.Module) -> ExportedProgram:
        wrapped = lowering.ChannelsLast(module).eval()
        with torch.no_grad():
            return lowering.decompose(lowering.export(wrapped, (torch.zeros(1, 8, 8, 3),)))

    return make


def table():
    return lowering.fx_infra.decomp.pre_lower_decomp()


def targets(program: ExportedProgram) -> list[str]:
    """Return the operators that are used, in their order; litert-torch removes the others itself."""
    program.graph.eliminate_dead_code()
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


def test_retracing_gives_the_same_operators_as_torch(decomposed):
    with torch.no_grad():
        traced = fast_decomposition.retrace(decomposed(CONVOLUTIONS), table())
        own = decomposed(CONVOLUTIONS).run_decompositions(table())

    assert targets(traced) == targets(own)
    image = torch.rand(1, 8, 8, 3)
    torch.testing.assert_close(traced.module()(image), own.module()(image))


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_resampling_is_not_retraced(decomposed, mode):
    program = decomposed(torch.nn.Upsample(scale_factor=2, mode=mode))

    with pytest.raises(fast_decomposition.CannotRetrace, match=f"upsample_{mode}2d"):
        fast_decomposition.retrace(program, table())


def test_operators_created_by_a_decomposition_must_be_allowed_too(decomposed, monkeypatch):
    program = decomposed(CONVOLUTIONS)
    monkeypatch.setattr(fast_decomposition, "ALLOWED", fast_decomposition.ALLOWED - {"mm"})

    with pytest.raises(fast_decomposition.CannotRetrace, match=r"aten\.mm"):
        fast_decomposition.retrace(program, table())


def test_torch_decomposes_where_retracing_is_not_possible(decomposed, monkeypatch):
    program = decomposed(CONVOLUTIONS)
    monkeypatch.setattr(fast_decomposition, "ALLOWED", frozenset())

    with torch.no_grad(), fast_decomposition.fast_decompositions():
        result = program.run_decompositions(table())

    assert "aten.mm.default" in targets(result)


@pytest.fixture
def converted(job, settings, place):
    """Return a function from a model's code to its artifact's hash and operators, and whether it is right."""

    def run(code: str):
        with convert(job(code), settings, workdir=place, tick=lambda stage: True, tick_s=0.02) as outcome:
            (artifact,) = outcome.artifacts
            return artifact.sha256, artifact.operators, artifact.parity.state

    return run


def test_artifact_is_identical_with_and_without_retracing(converted, monkeypatch):
    traced = converted(CLASSIFIER)
    monkeypatch.setattr(fast_decomposition, "ALLOWED", frozenset())

    assert converted(CLASSIFIER) == traced


def test_model_that_resamples_is_converted(converted):
    _, operators, right = converted(
        network(
            "y = F.relu(x)\n"
            "return [F.interpolate(y, scale_factor=2, mode=mode) for mode in ('bilinear', 'nearest')]"
        )
    )

    assert (operators["RESIZE_BILINEAR"], operators["RESIZE_NEAREST_NEIGHBOR"]) == (1, 1)
    assert right == "ok"
