"""Stages report errors of models with a reason. Nothing is lowered: this process forks other children."""

import pytest
import torch

from nnlite.catalog.model import ModelSpec
from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import Precision, Stage
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.pipeline import stages
from nnlite_conversion.pipeline.loading import load as loading

GOOD = """
import random, numpy, torch
class Net(torch.nn.Module):
    def __init__(self, in_shape, out_shape, prm, device):
        super().__init__()
        assert in_shape == (1, 3, 8, 6) and out_shape == (4,) and str(device) == "cpu"
        self.scale = prm["scale"] + 0 * random.random() + 0 * numpy.random.rand()
        self.layer = torch.nn.Linear(in_shape[1], out_shape[0])
    def forward(self, x):
        return self.layer(x.mean((2, 3))) * self.scale
"""


def job(
    code=GOOD, *, hyperparameters=None, max_parameters=1000, weights="init:seed=0", input_shape=(1, 3, 8, 6)
):
    spec = ModelSpec(
        name="m",
        code=code,
        transform_code=None,
        transform=None,
        task="img-classification",
        dataset="cifar-10",
        hyperparameters={"scale": 2.0} if hyperparameters is None else hyperparameters,
        input_shape=input_shape,
        input_dtype="float32",
        classes=4,
        weights=weights,
    )
    return ConversionJob(model=spec, precisions=(Precision.FP32,), max_parameters=max_parameters)


def network(body):
    return (
        "import torch\nclass Net(torch.nn.Module):\n"
        "    def __init__(self, *a):\n        super().__init__()\n"
        f"    def forward(self, x):\n        {body}\n"
    )


def test_model_is_built_run_and_its_parameters_are_counted(tmp_path):
    loaded, parameters = loading.load(job(), tmp_path)

    assert parameters == 3 * 4 + 4
    assert [sample.shape for sample in loaded.samples] == [(1, 8, 6, 3)]
    assert [tensor.shape for tensor in loaded.expected] == [(1, 4)]
    assert not loaded.module.training


def test_seeded_weights_are_reproducible_and_identified_by_hash(tmp_path):
    first, again = (loading.load(job(), tmp_path)[0].state_dict_sha256 for _ in range(2))
    other = loading.load(job(GOOD.replace("self.scale =", "torch.rand(1); self.scale =")), tmp_path)[0]

    assert first == again != other.state_dict_sha256


def test_released_network_has_no_weights(tmp_path):
    normed = GOOD.replace("self.layer =", "self.norm = torch.nn.BatchNorm2d(3); self.layer =")
    loaded, _ = loading.load(job(normed), tmp_path)

    def bytes_held() -> int:
        return sum(each.untyped_storage().nbytes() for each in loaded.module.state_dict().values())

    assert bytes_held() > 0
    loaded.release()
    assert bytes_held() == 0


def test_parameters_of_a_lazy_model_are_counted_after_its_first_forward(tmp_path):
    code = GOOD.replace("torch.nn.Linear(in_shape[1], ", "torch.nn.LazyLinear(")

    assert loading.load(job(code), tmp_path)[1] == 3 * 4 + 4


def test_model_above_the_parameter_limit_is_skipped(tmp_path):
    with pytest.raises(loading.ModelSkipped) as skipped:
        loading.load(job(max_parameters=15), tmp_path)

    assert skipped.value.parameters == 16
    assert "16 parameters, above the limit of 15 (NNLITE_CATALOG__MAX_PARAMETERS)" in skipped.value.reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("class Net(:", r"not valid Python: .*, at m\.py:1: class Net"),
        ("import no_such_module\nno_such_module.draw()", "needs the module 'no_such_module'"),
        ("raise SystemExit(0)", "exits the process"),
        ("x = 1", "defines no class Net"),
        ("class Net:\n    def __init__(self, *a): pass", "not a torch.nn.Module"),
        (
            GOOD.replace('prm["scale"]', 'prm["depth"]'),
            "needs the hyperparameter 'depth'; the model has: scale",
        ),
        (GOOD.replace("out_shape[0])", "-1)"), "Net cannot be built for input"),
        (
            GOOD.replace("out_shape[0])", "min(300))"),
            r"its constructor fails whatever it is given: min\(300\) is of one number, TypeError: .* not "
            r"iterable, at m\.py:\d+: .*; correct that line of its code",
        ),
        (network("return 'a label'"), "returns a str"),
        (network("return x @ x.T @ torch.ones(3)"), r"forward fails on an input of shape \(1, 8, 6, 3\)"),
        (
            "import urllib.error\nraise urllib.error.URLError('no route to host')",
            "tries to download something.*NNLITE_CONVERSION__NETWORK=true",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_errors_of_a_model_are_model_failures_with_a_reason(tmp_path, code, reason):
    with pytest.raises(Failure, match=reason) as failure:
        loading.load(job(code), tmp_path)

    assert (failure.value.failure_class, failure.value.stage) == (FailureClass.MODEL, Stage.LOAD)


def test_unknown_weights_are_named(tmp_path):
    with pytest.raises(Failure, match="'deadbeef' need a file; without one only init:seed=0 is known"):
        loading.load(job(weights="deadbeef"), tmp_path)


def test_a_model_without_any_input_shape_is_refused(tmp_path):
    with pytest.raises(Failure, match="no input shape is known"):
        loading.load(job(input_shape=None), tmp_path)


def test_out_of_memory_and_full_disk_are_not_model_failures(tmp_path):
    with pytest.raises(MemoryError):
        loading.load(job("raise MemoryError"), tmp_path)
    with pytest.raises(OSError, match="No space left"):
        loading.load(job("raise OSError(28, 'No space left on device')"), tmp_path)


def test_control_flow_on_values_is_refused_at_export(tmp_path):
    code = network("return x[:, : int(x.sum() > 0) + 1]")

    with pytest.raises(Failure, match="depends on the input's values") as failure:
        stages.export(loading.load(job(code), tmp_path)[0])

    assert failure.value.stage is Stage.EXPORT


def test_why_no_side_of_a_branch_can_be_chosen_is_said(tmp_path):
    code = network(
        "y = None\n        if x.sum() > 0:\n            y = x\n        return x if y is None else y"
    )

    said = (
        r"if x.sum\(\) > 0:; y is a float32 tensor of shape .* on one side of the branch, None on the other"
    )
    with pytest.raises(Failure, match=said):
        stages.export(loading.load(job(code), tmp_path)[0])


def test_a_choice_by_values_is_exported_and_named(tmp_path):
    code = network("return x if x.sum() > 0 else x * 2")

    assert stages.export(loading.load(job(code), tmp_path)[0]).rewrites == ("both_branches",)


@pytest.mark.filterwarnings("ignore")
def test_export_returns_the_names_of_used_rewrites(tmp_path):
    code = network("return torch.nn.functional.adaptive_max_pool2d(x, 2)")

    exported = stages.export(loading.load(job(code), tmp_path)[0])

    assert exported.rewrites == ("adaptive_max_pool2d",)
    assert exported.operators["aten.adaptive_max_pool2d"] == 1


def test_seed_everything_seeds_random_numpy_and_torch():
    import random

    import numpy as np

    def draw():
        loading.seed_everything(1)
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    assert draw() == draw()
