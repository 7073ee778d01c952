"""Results as DataFrames of pandas and polars, and the notebook that uses them."""

import sys
import uuid
from pathlib import Path

import pytest

from docs_site.notebooks import executed, read
from integration.canned import finish_benchmark, finish_conversion
from nnlite.errors import NnliteError
from nnlite.results import frame, frames, queries
from nnlite.results.reading import open_reader
from nnlite.settings import load_settings

NOTEBOOK = Path(__file__).parents[3] / "docs/guides/results.ipynb"


@pytest.fixture
def measured(cluster, monkeypatch):
    """A campaign with one measured model, in the database that the settings name."""
    monkeypatch.setenv("NNLITE_DATABASE_URL", cluster.engine.url.render_as_string(hide_password=False))
    (message,) = finish_conversion(cluster, cluster.conversion(cluster.submit("one", name="night").id)["id"])
    finish_benchmark(cluster, message.row_id)
    return cluster


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_has_every_column_of_the_results(measured, library):
    (row,) = queries.latencies(measured.engine)
    results = frame("night", library=library)
    assert type(results).__module__.startswith(library)
    assert list(results.columns) == list(row)
    assert results["median_ns"].to_list() == [row["median_ns"]]
    assert results["verdict"].to_list() == [row["verdict"]]
    ids = {name for name, value in row.items() if isinstance(value, uuid.UUID)}
    assert {name: results[name].to_list() for name in ids} == {name: [str(row[name])] for name in ids}


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_without_rows_has_the_columns(measured, library):
    incidents = frame(view="device_incident", library=library)
    assert len(incidents) == 0
    assert "fault" in incidents.columns


def test_what_only_reads_can_change_nothing(measured):
    with open_reader(load_settings()) as reader, pytest.raises(Exception, match="read-only transaction"):
        reader.rows("DELETE FROM measurement", {})


def test_a_home_without_a_database_stays_so(tmp_path, monkeypatch):
    monkeypatch.delenv("NNLITE_DATABASE_URL", raising=False)
    monkeypatch.setenv("NNLITE_HOME", str(tmp_path / "home"))
    with pytest.raises(NnliteError, match="has no database"):
        frame()
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"campaign": "nigth"}, "no campaign is named 'nigth'; did you mean night"),
        ({"view": "latencies"}, "no view is named 'latencies'; there are campaign_digest"),
        ({"campaign": "night", "view": "device_overview"}, "not of one campaign"),
        ({"library": "numpy"}, "pandas or polars"),
    ],
)
def test_what_is_not_there_is_named(measured, arguments, message):
    with pytest.raises(NnliteError, match=message):
        frame(**arguments)


def test_the_library_is_the_one_that_is_imported_else_the_one_that_is_installed(monkeypatch):
    for name in ("pandas", "polars"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(frames, "find_spec", lambda name: name)
    assert frames._chosen(None) == "pandas"
    monkeypatch.setitem(sys.modules, "polars", sys)
    assert frames._chosen(None) == "polars"
    monkeypatch.setattr(frames, "find_spec", lambda name: name if name == "pandas" else None)
    assert frames._chosen(None) == "pandas"
    monkeypatch.setattr(frames, "find_spec", lambda _: None)
    with pytest.raises(NnliteError, match="pip install polars"):
        frames._chosen(None)


def test_the_notebook_runs(measured):
    cells = executed(read(NOTEBOOK))["cells"]
    printed = ["".join(output["text"]) for cell in cells if "outputs" in cell for output in cell["outputs"]]
    assert printed[0].startswith("1 results of 1 models")
    assert len(printed) == len([cell for cell in cells if cell["cell_type"] == "code"])


def test_the_notebook_is_committed_with_its_outputs():
    cells = [cell for cell in read(NOTEBOOK)["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in cells)
