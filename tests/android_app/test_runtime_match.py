"""The app's version of TensorFlow Lite accepts what the converter emits, and computes the same."""

from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder

from android_app.outside import weights_outside
from android_app.runtime_match import (
    LIBRARY_OF_PHONES,
    Match,
    Operator,
    make_artifacts,
    match,
    operators,
    report,
)
from android_app.samples import SMALL
from apk.lock import properties
from nnlite.vocabulary import Precision
from nnlite_benchmark.protocol.canary import MODEL_FILE


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Precision]]:
    folder = tmp_path_factory.mktemp("artifacts")
    outside = weights_outside(MODEL_FILE, tmp_path_factory.mktemp("outside") / "outside.tflite")
    return [(MODEL_FILE, Precision.FP32), (outside, Precision.FP32), *make_artifacts(folder)]


@pytest.fixture(scope="module")
def too_new(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Precision]:
    """The canary, asking for a version of its first operator that no runtime has."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(MODEL_FILE.read_bytes(), 0))
    model.operatorCodes[0].version = 99
    builder = Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    artifact = tmp_path_factory.mktemp("too_new") / "too_new.tflite"
    artifact.write_bytes(builder.Output())
    return artifact, Precision.FP32


@pytest.mark.parametrize("runtime", ["apk", "tensorflow"])
def test_artifacts_of_every_precision_run_in_the_runtime_of_the_app(artifacts, tmp_path, runtime):
    version, matches = match(artifacts, tmp_path, runtime)
    table = report(version, matches)
    print(table)

    if runtime == "apk":
        assert version == f"{properties()['tflite']}+apk"
    else:
        assert version.rsplit(".", 1)[0] == properties()["tflite"].rsplit(".", 1)[0]
    assert len(matches) == 2 + len(SMALL) * len(Precision)
    assert [one.artifact.name for one in matches if one.refusal] == [], table
    assert [one.artifact.name for one in matches if not one.parity.ok] == [], table
    assert len({operator.name for one in matches for operator in one.operators}) > 20, table


def test_artifacts_run_in_the_runtime_of_phones(artifacts, tmp_path):
    if not (LIBRARY_OF_PHONES / ".built").exists():
        pytest.skip(
            f"{LIBRARY_OF_PHONES} is not there: install Debian's gcc-aarch64-linux-gnu, "
            "libc6-dev-arm64-cross and qemu-user, and `make runtime-check-arm64` builds it"
        )
    version, matches = match(artifacts, tmp_path, "apk-arm64")
    table = report(version, matches)
    print(table)
    assert version == f"{properties()['tflite']}+apk-arm64"
    assert [one.artifact.name for one in matches if one.refusal] == [], table
    assert [one.artifact.name for one in matches if not one.parity.ok] == [], table


def test_a_refused_artifact_is_named_with_its_operator_and_the_others_run(too_new, tmp_path, monkeypatch):
    # The host refuses it too, so that what it would compute is taken from the canary.
    from android_app import runtime_match

    on_host = runtime_match._on_host
    monkeypatch.setattr(runtime_match, "_on_host", lambda artifact, place: on_host(MODEL_FILE, place))

    version, (refused, ran) = match([too_new, (MODEL_FILE, Precision.FP32)], tmp_path)

    first = next(operator for operator in refused.operators if operator.version == 99)
    assert f"'{first.name}' version '99'" in refused.refusal
    assert refused.parity is None
    assert ran.refusal is None and ran.parity.ok
    assert f"REFUSED too_new.tflite: {refused.refusal}" in report(version, [refused, ran])
    assert f"(operators that ran nowhere: {first})" in report(version, [refused, ran])


def test_operators_are_counted_with_their_versions():
    conv, relu = Operator(name="CONV_2D", version=5), Operator(name="RELU", version=1)
    matches = [
        Match(artifact=Path("a"), operators=frozenset({conv}), refusal="no", parity=None),
        Match(artifact=Path("b"), operators=frozenset({conv, relu}), refusal=None, parity=None),
    ]

    lines = [line.split() for line in report("2.16.2", matches).splitlines()]

    assert ["CONV_2D", "v5", "1", "1"] in lines
    assert ["RELU", "v1", "1", "0"] in lines


def test_the_operators_of_a_file_are_read():
    assert "CONV_2D" in {operator.name for operator in operators(MODEL_FILE)}
