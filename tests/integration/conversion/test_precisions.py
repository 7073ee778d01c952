"""One conversion to four precisions: their accuracy and size, and precisions that are refused.

More than 300 lines: precisions that are made, kept in floats and refused, of networks that they share.
"""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema

from integration.conversion.models import CLASSIFIER, network
from nnlite.artifacts.calibration import Calibration, CalibrationKind, pack
from nnlite.artifacts.inputs import artifact_inputs, from_raw_bytes
from nnlite.catalog.lemur.location import find_lemur
from nnlite.catalog.model import CatalogError, ModelSpec
from nnlite.settings import load_settings
from nnlite.vocabulary import Int8Io, Precision, Stage
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.pipeline.quantizing import quantization
from nnlite_conversion.pipeline.quantizing.calibration import digits
from nnlite_conversion.pipeline.verifying.parity import HostArtifact
from waiting import HANG_S

#: Small, and at 16 x 16 pixels it learns digits in two seconds.
LEMUR_MODEL = "FractalNet-9011e6e2ac398056d22520a48872c729"
SHAPE = (1, 1, 16, 16)
TRAINED_ON, TESTED_ON = 1437, 360
ALL = (Precision.FP32, Precision.FP16, Precision.DYNAMIC, Precision.INT8)


def run(job, settings, place):
    """Return a context with the outcome."""
    return convert(job, settings, workdir=place, tick=lambda stage: True)


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's digits as (N, H, W, C) in [-1, 1], and what they are."""
    pixels, labels = digits()
    return np.kron(pixels / 8 - 1, np.ones((1, 2, 2), np.float32))[..., np.newaxis], labels


def train(spec: ModelSpec, file: Path) -> None:
    """Train for some seconds and write the weights; in a process of its own, because it starts threads."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    namespace: dict = {"__name__": "model"}
    exec(compile(spec.code, "model.py", "exec"), namespace)
    network = namespace["Net"](SHAPE, (10,), dict(spec.hyperparameters), torch.device("cpu"))
    images, labels = (torch.from_numpy(values[:TRAINED_ON]) for values in pictures())
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(5):
        for batch in torch.randperm(TRAINED_ON).split(64):
            optimizer.zero_grad()
            scores = network(images[batch].permute(0, 3, 1, 2))
            torch.nn.functional.cross_entropy(scores, labels[batch]).backward()
            optimizer.step()
    torch.save(network.state_dict(), file)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> ConversionJob:
    """A model of LEMUR that knows digits, for every precision, calibrated on what it was trained on."""
    try:
        code = find_lemur(load_settings()).model_code(LEMUR_MODEL)
    except CatalogError as error:
        pytest.skip(str(error))
    spec = ModelSpec(
        name=LEMUR_MODEL, code=code, transform_code=None, transform=None, task="img-classification",
        dataset="digits", hyperparameters={"lr": 0.01, "momentum": 0.9, "dropout": 0.2}, input_shape=SHAPE,
        input_dtype="float32", classes=10, weights="trained", weights_suffix=".pt",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("trained")
    training = multiprocessing.get_context("fork").Process(target=train, args=(spec, folder / "weights.pt"))
    training.start()
    training.join(HANG_S)
    assert training.exitcode == 0
    np.save(folder / "digits.npy", pictures()[0][:TRAINED_ON])
    calibration = Calibration(kind=CalibrationKind.ARRAYS, name="digits.npy")
    pack(calibration, folder / "digits.npy", folder / "samples.zip")
    return ConversionJob(
        model=spec, model_file=folder / "weights.pt", precisions=ALL, max_parameters=10**6,
        calibration=calibration, calibration_file=folder / "samples.zip",
    )  # fmt: skip


def correct(artifact: Path) -> int:
    """Return how many of the pictures that nothing was trained on an artifact knows."""
    host = HostArtifact(artifact, 1)
    images, labels = pictures()
    outputs = [host.run((image[np.newaxis],))[0] for image in images[TRAINED_ON:]]
    return int((np.concatenate(outputs).argmax(1) == labels[TRAINED_ON:]).sum())


def test_int8_classifies_nearly_as_many_digits_as_fp32(trained, settings, place):
    with run(trained, settings, place) as outcome:
        known = {artifact.precision: correct(artifact.path) for artifact in outcome.artifacts}
        made = {artifact.precision: artifact for artifact in outcome.artifacts}

    assert known[Precision.FP32] > 0.85 * TESTED_ON, "it has learnt something"
    assert abs(known[Precision.INT8] - known[Precision.FP32]) <= 4
    assert abs(known[Precision.FP16] - known[Precision.FP32]) <= 1
    assert abs(known[Precision.DYNAMIC] - known[Precision.FP32]) <= 4
    assert all(artifact.parity.state == "ok" and artifact.parity.samples == 128 for artifact in made.values())
    noise = [made[precision].parity.sqnr_db for precision in ALL]
    assert noise == sorted(noise, reverse=True), "each is coarser than the one before"
    sizes = [made[precision].size_bytes for precision in ALL]
    assert sizes[1] < 0.6 * sizes[0] and sizes[3] < 0.4 * sizes[0]
    assert [made[precision].calibrated_on for precision in ALL] == [0, 0, 0, 128]
    steps = [made[precision].outputs[0].step for precision in ALL]
    assert steps[:3] == [None] * 3 and steps[3] > 0


@pytest.fixture
def four(job):
    """A tiny classifier in every precision, calibrated on what comes with scikit-learn."""

    def make(**changes):
        calibration = Calibration(kind=CalibrationKind.SKLEARN, samples=4)
        return replace(job(CLASSIFIER, precisions=ALL), **{"calibration": calibration, **changes})

    return make


def test_integer_inputs_and_outputs_are_quantized(four, settings, place):
    with run(four(precisions=(Precision.INT8,), int8_io=Int8Io.INTEGER), settings, place) as outcome:
        (artifact,) = outcome.artifacts
        assert [artifact.inputs[0].dtype, artifact.outputs[0].dtype] == ["int8", "int8"]
        assert artifact.parity.state == "ok" and artifact.parity.sqnr_db > 10
        kept = from_raw_bytes(artifact.reference_outputs[0].read_bytes(), (1, 4), "int8")
        (fed,) = artifact_inputs([DeviceInput(artifact.inputs[0])], 0)
        np.testing.assert_array_equal(HostArtifact(artifact.path, 1).run((fed,))[0], kept)


class DeviceInput:
    """An input as a device sees it."""

    def __init__(self, spec):
        self.shape, self.dtype = spec.shape, spec.dtype
        self.quantization = spec.quantization.per_tensor if spec.quantization else None


def test_failed_precision_does_not_affect_the_others(four, settings, place, monkeypatch):
    def fails(fp32, target, data):
        raise RuntimeError("no such scheme")

    def empty(fp32, target, data):
        target.write_bytes(b"no flatbuffer")
        return quantization.Quantized()

    monkeypatch.setattr(
        quantization,
        "QUANTIZERS",
        quantization.QUANTIZERS | {Precision.FP16: fails, Precision.DYNAMIC: empty},
    )
    monkeypatch.setattr("nnlite_conversion.pipeline.making.QUANTIZERS", quantization.QUANTIZERS)

    with run(four(), settings, place) as outcome:
        assert [artifact.precision for artifact in outcome.artifacts] == [Precision.FP32, Precision.INT8]
    fp16, dynamic = outcome.refused
    assert (fp16.precision, fp16.stage) == (Precision.FP16, Stage.QUANTIZE)
    assert fp16.reason.startswith("the quantizer fails: RuntimeError: no such scheme, at test_precisions.py:")
    assert (dynamic.precision, dynamic.stage) == (Precision.DYNAMIC, Stage.PARITY)
    assert dynamic.reason.startswith("LiteRT on the host refuses the artifact: ")


def test_int8_keeps_what_cannot_be_quantized_as_floats_and_takes_integers_of_64_bits(job, settings, place):
    # Infinite padding has no scale, and the maximum over it none either.
    code = network(
        "y = F.pad(self.c(x), (1, 1, 1, 1), value=float('-inf')); "
        "return self.h(F.max_pool2d(y, 2).mean((2, 3))) + self.e(x.mean((1, 2, 3)).long() + 1)",
        "self.c, self.h = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 4); self.e = torch.nn.Embedding(3, 4)",
    )
    wanted = job(code, precisions=(Precision.INT8,))
    with run(
        replace(wanted, calibration=Calibration(kind=CalibrationKind.SKLEARN, samples=4)), settings, place
    ) as outcome:
        (artifact,) = outcome.artifacts
    assert "PADV2" in artifact.kept_as_floats and artifact.parity.state == "ok"


def int8_of(wanted, settings, place):
    """The only artifact of a job, calibrated on four pictures; its file is gone."""
    calibration = Calibration(kind=CalibrationKind.SKLEARN, samples=4)
    with run(replace(wanted, calibration=calibration), settings, place) as outcome:
        assert outcome.refused == ()
        (artifact,) = outcome.artifacts
    return artifact


def test_int8_names_what_computes_with_floats_in_its_file_and_no_body_of_a_reduction(job, settings, place):
    # The choice of `-inf`, which the converter writes as the smallest number, and what follows it, too.
    code = network(
        "y = F.max_pool3d(self.c(x)[:, :, None], (1, 2, 2)).abs().mean((2, 3, 4)); "
        "return y, torch.where(y > y.mean(), y, torch.tensor(float('-inf'))).argmax(1)",
        "self.c = torch.nn.Conv2d(3, 8, 3)",
    )
    artifact = int8_of(job(code, precisions=(Precision.INT8,)), settings, place)
    assert artifact.parity.state == "ok" and "MAXIMUM" in artifact.operators
    assert set(artifact.kept_as_floats) == {
        "STABLEHLO_REDUCE_WINDOW", "ABS", "GREATER", "SELECT_V2", "ARG_MAX",
    }  # fmt: skip


def test_int8_keeps_what_litert_refuses_in_integers_as_floats(job, settings, place):
    # Near zero the divisor's integer is that of zero.
    code = network(
        "y = self.c(x); return self.h((y / (y.abs() + 1e-4)).mean((2, 3)))",
        "self.c, self.h = torch.nn.Conv2d(3, 8, 3), torch.nn.Linear(8, 4)",
    )
    artifact = int8_of(job(code, precisions=(Precision.INT8,)), settings, place)
    assert artifact.kept_as_floats == ("ABS", "DIV") and artifact.operators["CONV_2D"] == 1


def test_without_calibration_data_int8_is_refused_and_dynamic_keeps_matrix_products_as_floats(
    job, settings, place
):
    # A product whose first factor is constant, and no number of channels that pictures have.
    code = network("return self.w @ x.mean(3)", "self.w = torch.nn.Parameter(torch.rand(1, 4, 5))")
    wanted = job(code, shape=(1, 5, 8, 8), precisions=(Precision.DYNAMIC, Precision.INT8))
    with run(
        replace(wanted, calibration=Calibration(kind=CalibrationKind.SKLEARN)), settings, place
    ) as outcome:
        (artifact,) = outcome.artifacts
    (refused,) = outcome.refused
    assert artifact.precision is Precision.DYNAMIC and artifact.parity.samples == 0
    assert artifact.operators["BATCH_MATMUL"] == 1
    assert refused.precision is Precision.INT8 and refused.reason.startswith("no calibration data")


def test_linear_layers_of_dynamic_quantize_their_inputs_with_a_zero_point(job, settings, place):
    """Without it they are wrong on arm64: `tests/android_app/test_runtime_match.py`."""
    code = network(
        "return self.h(self.c(x).mean((2, 3)))",
        "self.c, self.h = torch.nn.Conv2d(3, 8, 1), torch.nn.Linear(8, 4)",
    )
    with run(job(code, precisions=(Precision.FP32, Precision.DYNAMIC)), settings, place) as outcome:
        options = {artifact.precision: fully_connected(artifact.path) for artifact in outcome.artifacts}
    assert options == {Precision.FP32: [("FLOAT32", False)], Precision.DYNAMIC: [("INT8", True)]}


def fully_connected(artifact: Path) -> list[tuple[str, bool]]:
    """Return the type of each linear layer's weights, and whether its inputs have a zero point."""
    types = {number: name for name, number in vars(schema.TensorType).items()}
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(artifact.read_bytes(), 0))
    (graph,) = model.subgraphs
    return [
        (types[graph.tensors[operator.inputs[1]].type], operator.builtinOptions.asymmetricQuantizeInputs)
        for operator in graph.operators
        if isinstance(operator.builtinOptions, schema.FullyConnectedOptionsT)
    ]


def test_mixed_is_int8_where_that_is_right(four, settings, place):
    wanted = four(precisions=(Precision.INT8, Precision.MIXED), int8_io=Int8Io.FLOAT)
    with run(wanted, settings, place) as outcome:
        int8, mixed = outcome.artifacts
    assert (int8.sha256, int8.kept_as_floats) == (mixed.sha256, mixed.kept_as_floats)
    assert mixed.precision is Precision.MIXED and mixed.calibrated_on == 4


#: Boxes in pixels share the output with scores, and what follows them with both.
DETECTOR = network(
    "y = self.c(x); return torch.cat([y[:, :4].sigmoid() * 640, y[:, 4:].sigmoid()], 1).flatten(2)",
    "self.c = torch.nn.Conv2d(3, 9, 3)",
)
#: Its result is small next to what it is computed from: no product follows.
CANCELLING = network(
    "y, s = self.c(x), 1000 * x.sum(1, True); return self.h(F.relu((y + s) - s).mean((2, 3)))",
    "self.c, self.h = torch.nn.Conv2d(3, 8, 1), torch.nn.Linear(8, 4, bias=False)",
)


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        pytest.param(DETECTOR, "CONCATENATION", id="in what follows the last products"),
        pytest.param(CANCELLING, "SUB", id="everywhere but in products"),
    ],
)
def test_mixed_falls_back_to_floats_where_int8_is_off(job, settings, place, code, kept):
    wanted = job(code, precisions=(Precision.INT8, Precision.MIXED))
    calibrated = replace(wanted, calibration=Calibration(kind=CalibrationKind.NOISE, samples=8))
    with run(calibrated, settings, place) as outcome:
        int8, mixed = outcome.artifacts
    assert int8.parity.state == "off" and mixed.parity.state == "ok"
    assert kept in mixed.kept_as_floats and kept not in int8.kept_as_floats
    assert "CONV_2D" not in mixed.kept_as_floats
    assert mixed.size_bytes < 2 * int8.size_bytes


def test_what_is_off_is_kept_where_a_further_way_fails(job, settings, place, monkeypatch):
    def fails(fp32, target, data):
        target.write_bytes(b"no flatbuffer")
        raise RuntimeError("no such scheme")

    monkeypatch.setattr("nnlite_conversion.pipeline.making.FALLBACKS", {Precision.INT8: (fails,)})
    wanted = replace(
        job(CANCELLING, precisions=(Precision.INT8,)),
        calibration=Calibration(kind=CalibrationKind.NOISE, samples=8),
    )
    with run(wanted, settings, place) as outcome:
        (artifact,) = outcome.artifacts
    assert outcome.refused == () and artifact.parity.state == "off" and artifact.operators["CONV_2D"]


def test_mixed_is_int8_where_parity_cannot_be_judged(job, settings, place):
    code = network("return (self.c(x).abs() + 1).sign().mean((2, 3))", "self.c = torch.nn.Conv2d(3, 4, 3)")
    wanted = job(code, precisions=(Precision.INT8, Precision.MIXED))
    calibrated = replace(wanted, calibration=Calibration(kind=CalibrationKind.NOISE, samples=8))
    with run(calibrated, settings, place) as outcome:
        int8, mixed = outcome.artifacts
    assert int8.parity.state == mixed.parity.state == "unknown"
    assert (int8.sha256, int8.kept_as_floats) == (mixed.sha256, mixed.kept_as_floats)
