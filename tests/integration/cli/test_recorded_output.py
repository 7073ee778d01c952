"""What commands make of a database is byte for byte what release 0.1 made of it.

A change that is wanted is recorded with `NNLITE_RECORD=1`; then the difference is in the commit.
"""

import json
import os
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from integration.cli.conftest import Said
from integration.release.database import RECORDED
from nnlite.reports.schema import BenchmarkReport

OUTPUT = RECORDED / "output"
#: Before the environment of the tests is emptied.
RECORD = bool(os.environ.get("NNLITE_RECORD"))


@pytest.fixture
def files(released: None, nnlite: Callable[..., Said], tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """Run a command that writes files and return their content by their paths."""

    def run(*arguments: str) -> dict[str, bytes]:
        folder = tmp_path / "written"
        said = nnlite(*arguments[:2], str(folder), *arguments[2:])
        assert said.code == 0, said.err
        return {
            str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()
        }

    return run


def check(name: str, output: dict[str, bytes]) -> None:
    """Compare files with the recorded ones of the folder `name`."""
    folder = OUTPUT / name
    if RECORD:
        for file, content in output.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
    recorded = {
        str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }
    assert sorted(output) == sorted(recorded)
    for file, content in output.items():
        assert content == recorded[file], file


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_results_in_every_format(form: str, released: None, nnlite: Callable[..., Said]) -> None:
    said = nnlite("results", "--format", form)
    assert said.code == 0, said.err
    check(f"results-{form}", {"stdout": said.out.encode()})


def test_enriched_reports(released: None, nnlite: Callable[..., Said]) -> None:
    reports = nnlite("results", "done", "--model", "AlexNet", "--format", "reports").rows
    # Of one model they come in no order.
    ordered = sorted(reports, key=lambda report: (report["precision"], report["device"]["name"]))
    content = json.dumps(ordered, indent=1, ensure_ascii=False) + "\n"
    check("results-reports", {"reports.json": content.encode()})


def test_the_tree_for_nn_dataset(files: Callable[..., dict[str, bytes]]) -> None:
    kinds = [option for kind in ("emulator", "phone", "host") for option in ("--kind", kind)]
    check("lemur", files("export", "lemur", *kinds))


@pytest.mark.parametrize(
    ("name", "options"),
    [("nngpt", []), ("nngpt-generation", ["--campaign", "generation", "--param-limit", "1000000"])],
)
def test_the_tracker_for_nn_gpt(
    name: str, options: list[str], files: Callable[..., dict[str, bytes]], tmp_path: Path
) -> None:
    (tracker,) = files("export", "nngpt", *options).values()
    tracker = re.sub(rb'(?<="timestamp": )"[^"]+"', b'"NOW"', tracker).replace(bytes(tmp_path), b"TMP")
    check(name, {"edge_tracker.json": tracker})


def test_a_report_is_read_and_written_as_it_was() -> None:
    text = (RECORDED / "report.json").read_text()
    report = BenchmarkReport.model_validate_json(text)
    # Fields that later releases added are null, and not set.
    assert report.model_dump_json(indent=1, exclude_unset=True) + "\n" == text
    made = BenchmarkReport.of(
        model_name=report.model_name,
        artifact_sha256=report.artifact_sha256,
        device=report.device,
        measurements=report.measurements,
    )
    assert made.nnlite_version == version("nnlite")
    assert made.model_copy(update={"nnlite_version": None}) == report
