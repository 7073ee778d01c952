"""Upstream's own importer, nn-dataset 2.2.11 from PyPI, takes an export row for row, unmodified."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from waiting import HANG_S

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
#: `make test` fetches it by name, version and hash (tests/upstream/requirements.txt).
WHEEL = ROOT / ".nnlite" / "upstream" / "nn_dataset-2.2.11-py3-none-any.whl"
#: An export of both precisions that the importer reads, which another test holds to be what nnlite writes.
EXPORT = Path(__file__).parents[1] / "release" / "recorded" / "output" / "lemur"
TREE = Path("ab", "nn", "stat", "run", "tflite")


@pytest.fixture
def imported(tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of its tables `run` and `tflite`."""
    if not WHEEL.exists():
        pytest.skip(f"{WHEEL} is not there; make test fetches it")
    with zipfile.ZipFile(WHEEL) as wheel:
        wheel.extractall(tmp_path / "package")
    shutil.copytree(EXPORT / TREE, tmp_path / "package" / TREE)
    (tmp_path / "package" / TREE.parents[1] / "train").mkdir()
    result = subprocess.run(
        [sys.executable, Path(__file__).parent / "programs" / "import_runs.py"],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "package"), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
    )
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    with closing(sqlite3.connect(tmp_path / "db" / "ab.nn.db")) as database:
        database.row_factory = sqlite3.Row
        return {
            table: [dict(row) for row in database.execute(f"SELECT * FROM {table}")]
            for table in ("run", "tflite")
        }


def test_it_takes_every_file_of_the_export(imported):
    files = [file for file in (EXPORT / TREE).rglob("*.json") if file.name != "all_models.json"]
    written = [
        json.loads(file.read_text()) | {"precision_type": file.relative_to(EXPORT / TREE).parts[0]}
        for file in files
    ]
    known = [record for record in written if record["precision_type"] in {"fp32", "int8"}]
    assert {record["precision_type"] for record in known} == {"fp32", "int8"}
    rows = imported["run"]
    # Records of equal name, device and duration are one row for it.
    keys = ("model_name", "device_type", "os_version", "duration", "precision_type")
    assert {tuple(row[key] for key in keys) for row in rows} == {
        tuple(one[key] for key in keys) for one in known
    }
    for row in rows:
        record = next(one for one in known if all(one[key] == row[key] for key in keys))
        for name, value in row.items():
            if name in {"id", "device_analytics_json"}:
                continue
            assert value == record.get(name), (row["model_name"], name)
        assert "nnlite" in json.loads(row["device_analytics_json"])


def test_it_finds_the_transforms_of_the_models(imported):
    catalogues = {
        precision: json.loads((EXPORT / TREE / precision / "all_models.json").read_text())
        for precision in ("fp32", "int8")
    }
    for row in imported["tflite"]:
        assert catalogues[row["precision_type"]][row["model_name"]]["transform"] == row["transform"]
    assert {row["model_name"] for row in imported["tflite"]} <= {row["model_name"] for row in imported["run"]}
