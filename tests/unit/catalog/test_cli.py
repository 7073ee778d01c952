"""`nnlite models` as a user sees it."""

import json

import pytest
from typer.testing import CliRunner

from nnlite.catalog.model import CatalogError
from nnlite.cli.catalog import app
from nnlite.errors import UsageError
from unit.catalog.copies import trial


@pytest.fixture
def models(lemur, tmp_path, monkeypatch):
    """Run `nnlite models` on a small LEMUR; return its rows and its messages."""
    lemur.trained("ResNet", trial("a")).trained("ga-1", trial("b"), on="mnist").untrained("ga-2")
    lemur.models["Talker"] = "class Net: pass"
    lemur.trials["txt-image_coco_clip_Talker", 1] = [trial("c")]
    information = tmp_path / "site-packages" / "source-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: source\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[nnlite.sources]\nlemur = nnlite.catalog.lemur.source:LemurSource\n"
    )
    monkeypatch.syspath_prepend(str(information.parent))
    monkeypatch.setenv("NNLITE_LEMUR", str(lemur.folder(tmp_path / "tree")))
    monkeypatch.setenv("NNLITE_HOME", str(tmp_path / "home"))

    def run(*arguments: str):
        result = CliRunner().invoke(app, ["models", *arguments], catch_exceptions=False)
        assert result.exit_code == 0
        return result

    yield run


def names(result) -> list[str]:
    return [row["name"] for row in json.loads(result.stdout)]


def test_json_has_every_field_of_every_model(models):
    rows = json.loads(models("--json").stdout)
    assert [row["name"] for row in rows] == ["ResNet", "Talker", "ga-1", "ga-2"]
    assert rows[0]["input_shape"] == [1, 3, 64, 64]
    assert len(rows[0]["identity"]) == 64
    assert rows[1]["skipped"].startswith("task txt-image")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["ga-*"], ["ga-1", "ga-2"]),
        (["ga-1", "R*"], ["ResNet", "ga-1"]),
        (["--match", "*-2"], ["ga-2"]),
        (["--task", "txt-image"], ["Talker"]),
        (["--usable"], ["ResNet", "ga-1", "ga-2"]),
        (["--skipped"], ["Talker"]),
        (["--limit", "2"], ["ResNet", "Talker"]),
        (["--limit", "0"], ["ResNet", "Talker", "ga-1", "ga-2"]),
        (["--dataset", "mnist", "--usable"], ["ga-1", "ga-2"]),
        (["nothing*"], []),
    ],
)
def test_rows_are_filtered(arguments, expected, models):
    assert names(models("--json", *arguments)) == expected


def test_an_unknown_task_is_an_error_that_names_the_known_ones(models):
    with pytest.raises(UsageError, match="'img-clasification' is none of img-classification, txt-image"):
        models("--task", "img-clasification")


def test_the_default_output_is_a_table_and_a_summary_by_reason(models):
    result = models()
    assert "ResNet" in result.stdout
    assert "4 of 4 models: 3 usable, 1 skipped" in result.stderr
    assert "1 task txt-image" in result.stderr


def test_a_truncated_table_is_marked_as_such(models):
    assert "1 shown, --limit 0 shows all; 4 of 4 models" in models("--limit", "1").stderr


def test_an_unknown_source_lists_the_known_ones(models):
    with pytest.raises(CatalogError, match=r"unknown source lemming; known: .*lemur"):
        models("--source", "lemming")
