"""Backups of the database, and what is there after a restore: `nnlite.local.backup`."""

from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from integration.conftest import Cluster
from nnlite.errors import NnliteError
from nnlite.local.backup import back_up, restore


@pytest.fixture
def campaigns(cluster: Cluster) -> list[str]:
    """Names of two campaigns in the database."""
    for name in ("first", "second"):
        cluster.submit(f"model of {name}", name=name)
    cluster.engine.dispose()
    return ["first", "second"]


def names(cluster: Cluster) -> list[str]:
    """Return the campaigns in the database, and leave no connection open."""
    rows = cluster.rows("SELECT name FROM campaign ORDER BY name")
    cluster.engine.dispose()
    return [row["name"] for row in rows]


def url(cluster: Cluster) -> str:
    return str(cluster.settings.database_url)


def dumps(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_restored_database_is_what_it_was_at_the_backup(cluster, campaigns, tmp_path):
    folder = tmp_path / "backups"
    said = back_up(cluster.settings, url(cluster), folder, keep=3)
    (dump,) = dumps(folder)
    assert said == f"wrote {folder / dump}; kept: 1"
    assert (folder / dump).stat().st_mode & 0o077 == 0, "models' code and results are for their owner"
    cluster.submit("later", name="third")
    cluster.engine.dispose()

    restore(cluster.settings, url(cluster), folder / dump)

    assert names(cluster) == campaigns
    (state,) = cluster.rows("SELECT count(*) AS n FROM conversion WHERE state = 'queued'")
    assert state["n"] == 2


def test_the_last_dump_of_each_of_the_newest_days_is_kept(cluster, tmp_path):
    old = [f"nnlite-202601{day}.dump" for day in ("01T000000Z", "02T000000Z", "03T000000Z", "03T120000Z")]
    for name in (*old, "notes.txt", ".nnlite-20260104T000000Z.dump"):
        (tmp_path / name).touch()

    for _ in range(2):  # seconds name them: it may be one
        back_up(cluster.settings, url(cluster), tmp_path, keep=3)

    left = [name for name in dumps(tmp_path) if name.endswith(".dump")]
    assert left[:2] == [old[1], old[3]], "two earlier days, the last dump of each"
    assert all(name > "nnlite-2026011" for name in left[2:]) and len(left) in {3, 4}, "and all of today"
    assert "notes.txt" in dumps(tmp_path)


def test_a_database_in_use_is_not_replaced(cluster, campaigns, tmp_path):
    back_up(cluster.settings, url(cluster), tmp_path / "backups", keep=1)
    (dump,) = (tmp_path / "backups").iterdir()

    with cluster.engine.connect(), pytest.raises(NnliteError, match=r"1 connections use the database"):
        restore(cluster.settings, url(cluster), dump)

    assert names(cluster) == campaigns


@pytest.mark.parametrize("damage", ["no dump at all", "truncated"])
def test_a_damaged_dump_changes_nothing(cluster, campaigns, tmp_path, damage):
    back_up(cluster.settings, url(cluster), tmp_path / "backups", keep=1)
    (dump,) = (tmp_path / "backups").iterdir()
    raw = dump.read_bytes()
    dump.write_bytes(b"hello" if damage == "no dump at all" else raw[: len(raw) - 2000])
    cluster.engine.dispose()

    with pytest.raises(NnliteError, match="nothing was changed"):
        restore(cluster.settings, url(cluster), dump)

    assert names(cluster) == campaigns


@pytest.fixture
def plain_url(cluster):
    """The database as a role that may not create others."""
    with cluster.engine.begin() as connection:
        connection.execute(text("CREATE ROLE plain LOGIN PASSWORD 'of a test'"))
    yield (
        make_url(url(cluster))
        .set(username="plain", password="of a test")
        .render_as_string(hide_password=False)
    )
    with cluster.engine.begin() as connection:
        connection.execute(text("DROP ROLE plain"))


def test_a_role_that_may_not_create_databases_says_what_it_needs(cluster, plain_url, tmp_path):
    back_up(cluster.settings, url(cluster), tmp_path, keep=1)
    (dump,) = tmp_path.iterdir()
    cluster.engine.dispose()

    with pytest.raises(NnliteError, match=r'nothing was changed.*ALTER ROLE "plain" CREATEDB'):
        restore(cluster.settings, plain_url, dump)


def test_a_folder_that_cannot_be_written_is_named(cluster, tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(NnliteError, match=f"{tmp_path}/file/backups: Not a directory"):
        back_up(cluster.settings, url(cluster), tmp_path / "file" / "backups", keep=1)
