"""The documentation site builds without a warning, and loads nothing from another host."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from docs_site import database
from docs_site.repository import PAGES, page_of, with_links
from nnlite.db.engine import engine_for
from waiting import HANG_S

CHECKOUT = Path(__file__).parents[3]
#: Elements that a browser loads by itself; a link it does not.
LOADED = re.compile(r"<(?:script|img|link|iframe|source)[^>]* (?:src|href)=\"(https?://[^\"]+)\"")


@pytest.fixture(scope="module")
def site(make_database, tmp_path_factory):
    """The built site; `make docs` builds the same, with a database of its own and the script for diagrams."""
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {
        "NNLITE_DATABASE_URL": make_database(),
        "NNLITE_BROKER_URL": "redis://localhost:1/0",  # named, so that none is started
        "PYTHONPATH": str(CHECKOUT / "tools"),
        "NO_MKDOCS_2_WARNING": "1",
    }
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_there(site):
    pages = [page for page in PAGES.values() if page.endswith(".md")]
    pages += [path.relative_to(CHECKOUT / "docs").as_posix() for path in (CHECKOUT / "docs").rglob("*.md")]
    expected = {re.sub(r"(README|index)\.md$", "index.html", page).replace(".md", ".html") for page in pages}
    assert expected <= {path.relative_to(site).as_posix() for path in site.rglob("*.html")}


@pytest.mark.slow
def test_nothing_is_loaded_from_another_host(site):
    assert {url for page in site.rglob("*.html") for url in LOADED.findall(page.read_text())} == set()
    assert {
        url
        for sheet in site.rglob("*.css")
        for url in re.findall(r"url\((https?://[^)]+)", sheet.read_text())
    } == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("commands", ("nnlite submit", "--precision", "nnlite worker benchmark")),
        ("settings", ("NNLITE_MEASUREMENT__MIN_RUNS", "NNLITE_HOME", "at least 1")),
        ("database", ("latency", "median_ns", "campaign_progress", "timestamp with time zone")),
        ("reports", ("MeasurementReport", "artifact_parity", "DeviceAnalytics")),
        ("metrics", ("nnlite_attempts_total", "nnlite_queue_messages", "Messages that no worker has taken")),
    ],
)
def test_the_reference_is_generated_from_the_code(site, page, names):
    shown = (site / f"reference/{page}.html").read_text()
    assert [name for name in names if name not in shown] == []


def test_every_view_and_every_column_of_it_has_a_meaning(database_url):
    engine = engine_for(database_url)
    views, _ = database._columns(engine)
    engine.dispose()
    assert views.keys() == database.VIEWS.keys()
    meanings = database._of_views(database._comments())
    missing = {
        name: [column for column in columns if not meanings.get(column)] for name, columns in views.items()
    }
    assert {name: columns for name, columns in missing.items() if columns} == {}, (
        "add them to tools/docs_site/columns.toml"
    )


def test_columns_that_no_view_has_are_not_described(database_url):
    engine = engine_for(database_url)
    views, _ = database._columns(engine)
    engine.dispose()
    described = tomllib.loads((CHECKOUT / "tools/docs_site/columns.toml").read_text())
    assert described.keys() - {column for columns in views.values() for column in columns} == set()


@pytest.mark.parametrize(
    ("page", "link", "on_site"),
    [
        ("guides/android.md", "[a](../../deploy/README.md#safety)", "[a](../operate/lab/index.md#safety)"),
        ("guides/android.md", "[a](../../tests/device/rig/__init__.py)", "a"),
        ("index.md", "[a](docs/glossary.md)", "[a](glossary.md)"),
        ("operate/lab/index.md", "![a](flower.png)", "![a](flower.png)"),
        ("operate/lab/index.md", "[a](systemd/README.md)", "[a](systemd.md)"),
        ("index.md", "[a](https://pypi.org)", "[a](https://pypi.org)"),
        ("index.md", "[a](#how-it-works)", "[a](#how-it-works)"),
        ("index.md", "[a](docs/gone.md)", "[a](docs/gone.md)"),
        ("index.md", "```text\n[a](docs/glossary.md)\n```", "```text\n[a](docs/glossary.md)\n```"),
    ],
)
def test_links_of_the_repository_are_links_of_the_site(page, link, on_site):
    assert with_links(link, page) == on_site


def test_a_folder_is_the_page_of_its_readme():
    assert page_of("deploy") == "operate/lab/index.md"
    assert page_of("tests") is None
