"""A campaign file says what options say, and is refused with file, key and value."""

import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nnlite.campaigns.request import Request, as_arguments, as_toml
from nnlite.cli import main
from nnlite.cli import submit as submitting
from nnlite.vocabulary import Backend, Precision


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run `nnlite submit ARGUMENTS --dry-run`; return the request and the name, or the error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNLITE_HOME", str(tmp_path / "home"))
    seen = []
    monkeypatch.setattr(submitting, "print_estimate", lambda request, name, *_: seen.append((request, name)))

    def run(*arguments: str):
        monkeypatch.setattr(sys, "argv", ["nnlite", "submit", *arguments, "--dry-run"])
        with pytest.raises(SystemExit) as ended:
            main()
        if ended.value.code:
            return ended.value.code, capsys.readouterr().err
        return seen.pop()

    return run


@pytest.fixture
def file(tmp_path: Path):
    """Write a campaign file and return its name."""

    def write(content: str, name: str = "night.toml") -> str:
        (tmp_path / name).write_text(content)
        return name

    return write


def test_a_file_has_the_words_of_the_options(requested, file) -> None:
    night = file(
        'models = ["AlexNet", "DarkNet"]\nprecision = ["fp32", "fp16"]\nthreads = [1, 2]\n'
        'backend = "cpu,gpu"\npool = "phones"\nprofile = true\nname = "night"\npriority = 7\nrepeat = 3\n'
    )
    options = ["AlexNet", "DarkNet", "--precision", "fp32,fp16", "--threads", "1,2", "--backend", "cpu,gpu"]
    options += ["--pool", "phones", "--profile", "--name", "night", "--priority", "7", "--repeat", "3"]
    assert requested(night) == requested(*options)
    request, name = requested(night)
    assert (request.backends, request.pools, name) == ((Backend.CPU, Backend.GPU), ("phones",), "night")


def test_the_command_line_takes_precedence(requested, file) -> None:
    night = file('models = ["AlexNet"]\nprecision = ["fp32", "fp16"]\nlimit = 5\n')
    request, _ = requested(night, "--precision", "dynamic", "--limit", "9", "DarkNet")
    assert (request.precisions, request.limit, request.models) == ((Precision.DYNAMIC,), 9, ("DarkNet",))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("limt = 5", "error: night.toml: limt is no option of nnlite submit; did you mean limit"),
        ("limit = 0", "error: night.toml: limit = 0: "),
        ("limit = 'some'", "error: night.toml: limit = 'some': "),
        ("limit = [1, 2]", "error: night.toml: limit = [1, 2]: only one value is possible"),
        ("profile = 'yes'", "error: night.toml: profile = 'yes' is neither true nor false"),
        ("limit = true", "error: night.toml: limit = true is neither text nor a number"),
        ("[limit]\nx = 1", "error: night.toml: limit = {'x': 1} is neither text nor a number"),
        ("mode = 'fast'", "error: night.toml: mode = 'fast': "),
        (
            "precision = ['int4']",
            "error: night.toml: --precision 'int4' is none of fp32, fp16, dynamic, int8",
        ),
        ("threads = [0]", "error: night.toml: --threads 0 is not within 1-1024"),
        ("limit = ", "error: campaign file night.toml is not TOML: "),
    ],
)
def test_what_a_file_cannot_say_is_refused_with_its_name(content, says, requested, file) -> None:
    code, err = requested(file(content))
    assert code == 2
    assert err.replace("\n", " ").startswith(says)


def test_a_file_that_is_not_there_and_a_second_one_are_refused(requested, file) -> None:
    assert requested("gone.toml") == (2, "error: campaign file gone.toml: No such file or directory\n")
    code, err = requested(file(""), file("", "day.toml"))
    assert (code, err) == (2, "error: one campaign file at a time, not night.toml and day.toml\n")


def test_files_next_to_a_campaign_file_are_meant(requested, tmp_path, file) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "net.py").write_text("")
    file('source = "files"\npath = ["net.py", "elsewhere.py"]\ninput = "1x3x8x8"\n', "lab/night.toml")
    request, _ = requested("lab/night.toml")
    assert request.path == (str(tmp_path / "lab" / "net.py"), str(tmp_path / "elsewhere.py"))


def test_calibration_and_labelled_samples_are_printed_by_their_paths(requested, tmp_path) -> None:
    for name, arrays in {"some.npy": None, "labelled.npz": {"y": np.arange(4)}}.items():
        values = np.zeros((4, 8, 8, 3), np.uint8)
        np.save(tmp_path / name, values) if arrays is None else np.savez(tmp_path / name, x=values, **arrays)
    (tmp_path / "net.py").write_text("")
    arguments = (
        "--source", "files", "--path", "net.py", "--input", "1x3x8x8", "--precision", "int8", "--calibration",
        "some.npy", "--evaluate", "labelled.npz", "--evaluate-on", "device",
    )  # fmt: skip
    request, _ = requested(*arguments)
    stored = tomllib.loads(as_toml(request.as_dict(), name="night"))
    assert (stored["calibration"], stored["evaluate"], stored["evaluate-on"]) == (
        str(tmp_path / "some.npy"), str(tmp_path / "labelled.npz"), "device",
    )  # fmt: skip
    assert f"--evaluate {tmp_path / 'labelled.npz'}" in as_arguments(request.as_dict())

    # They are known by their content: the same ones elsewhere are the same request.
    (tmp_path / "labelled.npz").rename(tmp_path / "moved.npz")
    moved = replace(request, sample_paths={"evaluation": str(tmp_path / "moved.npz")})
    assert moved == request and not moved.differences(request.as_dict())
    assert moved.default_name() == request.default_name()


def test_a_request_is_printed_as_a_file_that_makes_it(requested, file, tmp_path) -> None:
    request = Request(
        models=('a "quoted" name', "ü"), limit=3, precisions=(Precision.FP16,), pools=("phones", "host"),
        threads=(1, 4), path=(str(tmp_path / "a b.py"),), inputs=("1x3x8x8",), source="files",
    )  # fmt: skip
    stored = tomllib.loads(as_toml(request.as_dict(), name="night", priority=9))
    assert stored["threads"] == [1, 4]
    written = file(as_toml(request.as_dict() | {"precisions": ["fp32"]}, name="night", priority=9))
    again, name = requested(written)
    assert again == Request(**{**vars(request), "precisions": (Precision.FP32,)})
    assert name == "night"
