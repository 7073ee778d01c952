"""Campaigns and artifacts are deleted by their user's word only."""

from pathlib import Path

import pytest

from integration.canned import finish_benchmark, finish_conversion, stored_canary
from integration.conftest import Cluster
from nnlite.artifacts.store import open_store
from nnlite.db.engine import engine_for
from nnlite.queue.messages import BrokerClient
from nnlite.settings import load_settings


@pytest.fixture
def cluster(servers, database_url, broker_url):
    """What the workers would see of the servers and the store that the command is pointed at."""
    engine, broker = engine_for(database_url), BrokerClient(broker_url, 2)
    yield Cluster(engine, broker, load_settings())
    broker.close()
    engine.dispose()


@pytest.fixture
def night(nnlite, cluster: Cluster) -> Path:
    """A campaign of one measured model; its artifact."""
    said = nnlite("submit", "ResNet", "--name", "night", "--pool", "phones")
    assert said.code == 0, said.err
    stored = stored_canary(open_store(cluster.settings))
    (row,) = cluster.rows("SELECT id FROM conversion")
    (message,) = finish_conversion(cluster, row["id"], **stored)
    finish_benchmark(cluster, message.row_id)
    return Path(cluster.settings.artifacts, stored["path"])


def test_a_campaign_is_deleted_and_then_what_it_alone_needed(nnlite, night) -> None:
    assert nnlite("gc").err == "nothing to delete: every artifact is needed by a campaign\n"
    asked = nnlite("delete", "night")
    assert (asked.code, asked.err) == (
        2,
        "error: Delete campaign night: 1 model, 1 measured, with all results? "
        "Nobody is here to answer; add --yes\n",
    )
    assert nnlite("delete", "night", "--yes").err == "deleted campaign night: 1 model, 1 measured\n"
    assert nnlite("status", "--json").rows == []

    assert nnlite("gc").code == 2 and night.exists()
    collected = nnlite("gc", "--yes")
    assert collected.code == 0
    assert "artifacts that no campaign needs" in collected.out
    assert collected.err == f"deleted: 1 artifact, 1 model, {night_size(collected.out)}\n"
    assert not night.exists()


def night_size(table: str) -> str:
    (line,) = [line for line in table.splitlines() if line.startswith("artifacts")]
    return " ".join(line.split()[-2:])


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_in_a_terminal_the_user_is_asked(nnlite, night, monkeypatch, answer, left) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return answer

    monkeypatch.setattr("sys.stdin", Terminal())
    said = nnlite("delete", "night")
    assert "with all results? [y/N] " in said.err
    assert said.code == (1 if left else 0)
    assert len(nnlite("status", "--json").rows) == left


def test_a_renamed_campaign_is_found_by_its_new_name(nnlite, night) -> None:
    assert nnlite("rename", "night", "first night").err == "renamed night to first night\n"
    (campaign,) = nnlite("status", "--json").rows
    assert campaign["name"] == "first night"
    assert "--models" not in nnlite("describe", "first night").out


def test_a_dry_run_writes_nothing(nnlite, cluster: Cluster, tmp_path) -> None:
    said = nnlite("submit", "ResNet", "DarkNet", "--dry-run", "--name", "night")
    assert said.code == 0 and "night, new" in said.out
    assert said.err == "nothing was submitted (--dry-run)\n"
    for table in ("campaign", "model", "code"):
        assert cluster.rows(f"SELECT count(*) AS number FROM {table}") == [{"number": 0}]
    assert cluster.ready() == 0


def test_a_dry_run_of_another_request_is_refused_as_its_submit_would_be(nnlite, night) -> None:
    said = nnlite("run", "DarkNet", "--dry-run", "--name", "night")
    assert said.code == 1
    assert said.err.startswith("error: campaign 'night' was submitted with")
