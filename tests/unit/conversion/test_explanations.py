"""Errors of models and of the converter are explained by reasons that name the cause and a remedy."""

import errno
import urllib.error

import pytest

from nnlite.catalog.model import ModelSpec
from nnlite.errors import FailureClass
from nnlite.vocabulary import ArtifactFormat, Stage
from nnlite_conversion import explanations
from nnlite_conversion.export_errors import of_export


def spec(**hyperparameters):
    return ModelSpec(
        name="m",
        code="",
        transform_code=None,
        transform=None,
        task="img-classification",
        dataset="cifar-10",
        hyperparameters=hyperparameters,
        input_shape=(1, 3, 32, 32),
        input_dtype="float32",
        classes=10,
        weights="init:seed=0",
    )


def test_missing_hyperparameter_is_named_with_the_existing_ones():
    reason = explanations.of_construction(KeyError("dropout"), spec(lr=0.1, momentum=0.9), (1, 3, 32, 32))

    assert "'dropout'" in reason and "lr, momentum" in reason


def test_failing_constructor_is_reported_with_its_arguments():
    reason = explanations.of_construction(ValueError("bad"), spec(lr=0.1), (1, 3, 32, 32))

    assert "(1, 3, 32, 32)" in reason and "10 classes" in reason and "{'lr': 0.1}" in reason


def test_a_missing_module_is_named():
    explained = explanations.of_import(ModuleNotFoundError("No module named 'mmcv'", name="mmcv"))

    assert "needs the module 'mmcv'" in explained.cause and "install it" in explained.remedy


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("no route"),
        OSError("We couldn't connect to 'https://huggingface.co' to load the files"),
        ConnectionRefusedError("refused"),
    ],
)
def test_download_attempt_is_recognized_in_the_chain_of_causes(error):
    outer = RuntimeError("weights")
    outer.__cause__ = error

    assert explanations.wants_download(error) and explanations.wants_download(outer)
    assert "NNLITE_CONVERSION__NETWORK=true" in explanations.of_import(outer)


@pytest.mark.parametrize(
    ("message", "operator"),
    [
        ("Lowering not found: aten.adaptive_max_pool2d.default", "aten.adaptive_max_pool2d.default"),
        ("failed on aten::_fft_r2c in the graph", "aten._fft_r2c"),
        ("loc(x): 'tfl.batch_matmul' op found invalid output rank", "tfl.batch_matmul"),
        ("Lowering not found: aten.x.y\n\nWhile executing %c = aten.conv2d.default", "aten.x.y"),
        ("nothing named\n\nWhile executing %c = aten.conv2d.default", None),
    ],
)
def test_operator_is_extracted_from_an_error(message, operator):
    assert explanations.unsupported_operator(RuntimeError(message)) == operator


def test_data_dependent_control_flow_is_one_sentence_without_the_internals():
    explained = of_export(RuntimeError("Could not guard on data-dependent expression u0 > 0"))

    assert explained.cause == "its control flow depends on the input's values, which cannot be exported"
    assert "torch.where" in explained.remedy


def test_an_error_of_the_converter_names_the_line_of_the_model(tmp_path):
    network = tmp_path / "net.py"
    network.write_text("import torch\nflipped = x.flip(0, 2)\n")
    error = ValueError(
        f"Failed to run converter passes: {network}:2:0: error: failed to legalize operation "
        "'tfl.reverse_v2' that was explicitly marked illegal: tensor<2x4xi8>"
    )
    failure = explanations.explained(Stage.LOWER, error, explanations.of_lowering(error))
    assert failure.reason == (
        "operator tfl.reverse_v2 cannot be lowered to LiteRT with the types and shapes that it has, "
        "at net.py:2: flipped = x.flip(0, 2); "
        "write that line with other operators, or compute it in float32 or int32"
    )


def test_a_runtime_refusal_names_the_operator_and_is_its_fault():
    error = ValueError("Didn't find op for builtin opcode 'STABLEHLO_SORT' version '1'.")
    failure = explanations.explained(
        Stage.PARITY, error, explanations.of_runtime(error), FailureClass.RUNTIME
    )

    assert (failure.failure_class, failure.details["operator"]) == (FailureClass.RUNTIME, "STABLEHLO_SORT")
    assert "STABLEHLO_SORT" in failure.reason and "LiteRT has no sorting" in failure.reason


@pytest.mark.parametrize(
    ("artifact_format", "runtime"),
    [
        (ArtifactFormat.TFLITE, "LiteRT"),
        (ArtifactFormat.ONNX, "ONNX Runtime"),
        (ArtifactFormat.PTE, "ExecuTorch"),
    ],
)
def test_a_refusal_names_the_runtime_of_the_format(artifact_format, runtime):
    reason = explanations.of_runtime(RuntimeError("no kernel"), artifact_format)

    assert reason.cause == f"{runtime} on the host refuses the artifact: RuntimeError: no kernel"


def test_reasons_of_one_cause_are_equal_in_every_sandbox(tmp_path, monkeypatch):
    reasons = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        error = TypeError(
            f"<Net object at {hex(id(name))}> of {tmp_path / name / 'net.py'}, see /tmp/{name}/x.bin"
        )
        failure = explanations.explained(Stage.LOAD, error, "its code cannot be imported")
        reasons.add((failure.reason, failure.details["cause"]))

    assert reasons == {("its code cannot be imported: TypeError: <Net object> of net.py, see x.bin",) * 2}


def test_full_disk_is_distinguished_from_other_os_errors():
    assert explanations.is_full_disk(OSError(errno.ENOSPC, "No space left on device"))
    assert not explanations.is_full_disk(OSError(errno.EACCES, "denied"))


def test_a_summary_is_one_short_line():
    assert explanations.summary(ValueError("\n first \n second")) == "ValueError: first"
    assert len(explanations.summary(ValueError("x" * 9999))) == explanations.MAX_SUMMARY


def test_colours_of_a_terminal_are_left_out():
    assert explanations.summary(ValueError("\x1b[1mbold\x1b[0m words")) == "ValueError: bold words"
