"""`nnlite verify` as its user runs it: what it prints, and how it ends."""

import pytest

from integration.canned import finish_benchmark, finish_conversion, stored_canary
from integration.cli.test_campaigns import cluster, row_of
from nnlite.artifacts.store import ArtifactStore
from unit.benchmark.test_derivation import REPORTS

__all__ = ["cluster"]


@pytest.fixture
def night(nnlite, cluster, tmp_path) -> None:
    """A campaign with one measurement, whose artifact is in the store."""
    assert nnlite("submit", "ResNet", "--name", "night", "--pool", "phones").code == 0
    store = ArtifactStore(str(tmp_path / "home" / "artifacts"), tmp_path / "cache")
    (message,) = finish_conversion(cluster, row_of(cluster, "ResNet"), **stored_canary(store))
    finish_benchmark(cluster, message.row_id, REPORTS["valid"])


@pytest.mark.usefixtures("night")
def test_verify_prints_the_digest_of_a_campaign(nnlite, cluster):
    said = nnlite("verify", "night")
    (digest,) = cluster.rows("SELECT digest FROM campaign_digest")
    assert (said.code, said.out) == (0, f"night: 1 verified\n  digest {digest['digest']}\n")


@pytest.mark.usefixtures("night")
def test_verify_names_what_differs_and_fails(nnlite, cluster):
    cluster.change("UPDATE measurement SET median_ns = 7")
    said = nnlite("verify")
    assert said.code == 1
    assert "night: 1 different" in said.out
    (line,) = [line for line in said.out.splitlines() if "median_ns" in line]
    assert line.split()[-3:] == [
        "median_ns", "7", str(REPORTS["valid"].latency.median_ns),
    ]  # fmt: skip


@pytest.mark.usefixtures("night")
def test_verify_lists_rows_in_json(nnlite, cluster):
    (row,) = cluster.rows("SELECT id FROM measurement")
    (said,) = nnlite("verify", str(row["id"])[:8], "--json").rows
    assert (said["campaign"], said["verified"], said["different"], said["no_manifest"]) == ("night", 1, 0, 0)
    (measured,) = said["measurements"]
    assert (measured["measurement"], measured["outcome"]) == (str(row["id"]), "verified")


@pytest.mark.usefixtures("servers")
def test_a_target_that_is_not_known_is_an_error(nnlite):
    said = nnlite("verify", "evening")
    assert said.code == 1
    assert "'evening' is neither a campaign nor the id" in said.err
