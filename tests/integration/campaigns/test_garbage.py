"""What no campaign needs is deleted, and nothing that one needs, while workers go on."""

import os
import time
import uuid
from pathlib import Path

import pytest

from integration.canned import finish_benchmark, finish_conversion, stored_canary
from integration.conftest import Cluster
from nnlite.artifacts.store import ArtifactStore, open_store
from nnlite.campaigns import control
from nnlite.campaigns.control import CampaignError
from nnlite.campaigns.garbage import delete_garbage, find_garbage
from nnlite.queue import leases
from nnlite.queue.leases import LeaseLostError
from nnlite.vocabulary import WorkState

#: Of a file that was stored long ago.
LONG_AGO_S = 3 * 24 * 3600.0


@pytest.fixture
def store(cluster: Cluster) -> ArtifactStore:
    return open_store(cluster.settings)


def measured(cluster: Cluster, store: ArtifactStore, model: str, campaign: str, file: Path) -> None:
    """Submit a campaign of one model, and let it be converted to `file` and measured."""
    row = cluster.conversion(cluster.submit(model, name=campaign, pools=("phones",)).id)["id"]
    (message,) = finish_conversion(cluster, row, **stored_canary(store, file))
    finish_benchmark(cluster, message.row_id)
    report = store.put_report(b"{}", campaign=campaign, name=model, benchmark_id=message.row_id)
    assert store.holds(report)


@pytest.fixture
def artifact(tmp_path: Path):
    """Make a file with content of its own."""

    def make(content: str) -> Path:
        file = tmp_path / f"{content}.tflite"
        file.write_text(content)
        return file

    return make


def count(cluster: Cluster, table: str) -> int:
    return cluster.rows(f"SELECT count(*) AS number FROM {table}")[0]["number"]


def test_a_deleted_campaign_leaves_no_row_and_no_report(cluster, store, artifact) -> None:
    measured(cluster, store, "one", "night", artifact("one"))
    measured(cluster, store, "two", "day", artifact("two"))
    control.delete(cluster.engine, store, "night")
    for table in ("campaign", "conversion", "benchmark", "measurement"):
        assert count(cluster, table) == 1, table
    assert cluster.rows("SELECT DISTINCT campaign_id = (SELECT id FROM campaign) AS own FROM attempt") == [
        {"own": True}
    ]
    assert [file.path.split("/")[1] for file in store.files() if file.path.startswith("reports/")] == ["day"]


def test_artifacts_and_models_of_a_deleted_campaign_go_and_others_stay(cluster, store, artifact) -> None:
    measured(cluster, store, "one", "night", artifact("one"))
    measured(cluster, store, "two", "day", artifact("two"))
    assert not find_garbage(cluster.engine)
    control.delete(cluster.engine, store, "night")

    found = find_garbage(cluster.engine)
    assert (len(found.artifacts), found.artifact_bytes, found.models) == (1, len("one"), 1)
    assert delete_garbage(cluster.engine, store, found) == 1
    assert cluster.rows("SELECT name FROM model") == [{"name": "two"}]
    assert count(cluster, "code") == 1
    (kept,) = cluster.rows("SELECT path, reference_outputs FROM artifact")
    assert {file.path for file in store.files() if not file.path.startswith("reports/")} == {
        kept["path"], *kept["reference_outputs"],
    }  # fmt: skip
    assert not find_garbage(cluster.engine)


def test_a_file_that_another_artifact_has_too_stays(cluster, store, artifact) -> None:
    file = artifact("same")
    measured(cluster, store, "one", "night", file)
    measured(cluster, store, "two", "day", file)
    control.delete(cluster.engine, store, "night")
    found = find_garbage(cluster.engine)
    assert (len(found.artifacts), found.artifact_bytes) == (1, 0)
    delete_garbage(cluster.engine, store, found)
    (kept,) = cluster.rows("SELECT path FROM artifact")
    assert store.holds(kept["path"])


def test_a_pre_built_file_of_a_cancelled_campaign_stays_for_its_retry(cluster, store, artifact) -> None:
    measured(cluster, store, "one", "night", artifact("one"))
    (row,) = cluster.rows("SELECT sha256, path FROM artifact")
    cluster.change("UPDATE model SET weights = :sha256, weights_suffix = '.tflite'", sha256=row["sha256"])
    cluster.submit("one", name="day")
    control.cancel(cluster.engine, "day")
    control.delete(cluster.engine, store, "night")

    assert delete_garbage(cluster.engine, store, find_garbage(cluster.engine)) == 1
    assert store.holds(row["path"])


def test_an_artifact_is_kept_for_a_conversion_that_may_be_about_to_use_it(cluster, store, artifact) -> None:
    measured(cluster, store, "one", "night", artifact("one"))
    control.delete(cluster.engine, store, "night")
    found = find_garbage(cluster.engine)
    row = cluster.conversion(cluster.submit("one", name="day", pools=("phones",)).id)["id"]
    assert not find_garbage(cluster.engine).artifacts
    # Found before it was needed again: looked at once more under the lock.
    assert delete_garbage(cluster.engine, store, found) == 0
    finish_conversion(cluster, row, cached=True, **stored_canary(store, artifact("one")))
    assert count(cluster, "benchmark") == 1


def test_a_campaign_with_work_is_not_deleted_before_it_is_cancelled(cluster, store) -> None:
    row = cluster.conversion(cluster.submit("one", name="night").id)["id"]
    claim = cluster.claim(row)
    with pytest.raises(
        CampaignError, match="conversions or benchmarks queued or running: 1; `nnlite cancel night`"
    ):
        control.delete(cluster.engine, store, "night")
    control.cancel(cluster.engine, "night")
    control.delete(cluster.engine, store, "night")
    with pytest.raises(LeaseLostError):
        leases.heartbeat(cluster.engine, claim, 30)


def test_old_files_that_no_row_names_are_found_and_strangers_are_not(cluster, store, artifact) -> None:
    measured(cluster, store, "one", "night", artifact("one"))
    known = {file.path for file in store.files()}
    root = Path(store.url)
    crashed = store.put(artifact("stored by an attempt that was killed"), ".tflite")
    report = store.put_report(b"{}", campaign="gone", name="net.v2", benchmark_id=uuid.uuid4())
    (root / "notes.txt").write_text("the user's own")
    assert find_garbage(cluster.engine, store).files == []
    for file in root.rglob("*"):
        os.utime(file, (time.time() - LONG_AGO_S,) * 2)

    found = find_garbage(cluster.engine, store)
    assert {file.path for file in found.files} == {crashed, report}
    delete_garbage(cluster.engine, store, found)
    assert {file.path for file in store.files()} == known
    assert (root / "notes.txt").exists()


def test_a_file_that_is_stored_once_more_is_young_again(store, artifact) -> None:
    path = store.put(artifact("one"), ".tflite")
    os.utime(Path(store.url, path), (0, 0))
    store.put(artifact("one"), ".tflite")
    (file,) = store.files()
    assert file.modified_at.timestamp() > time.time() - LONG_AGO_S


def test_a_renamed_campaign_keeps_its_rows_and_frees_its_name(cluster: Cluster) -> None:
    first = cluster.submit("one", name="night")
    control.rename(cluster.engine, "night", "day")
    assert cluster.submit("one", name="day").id == first.id
    second = cluster.submit("two", name="night")
    assert second.id != first.id and not second.resumed
    assert cluster.submit("two", name="night").id == second.id
    with pytest.raises(CampaignError, match="there is a campaign 'night' already"):
        control.rename(cluster.engine, "day", "night")
    assert count(cluster, "conversion") == 2


def test_a_cancelled_campaign_is_neither_submitted_nor_retried_without_saying_so(cluster: Cluster) -> None:
    cluster.submit("one", name="night")
    control.cancel(cluster.engine, "night")
    with pytest.raises(Exception, match=r"'night' is cancelled; `nnlite retry night --cancelled`"):
        cluster.submit("one", name="night")
    with pytest.raises(CampaignError, match="'night' is cancelled"):
        control.retry(cluster.engine, cluster.broker, "night", [WorkState.FAILED])
    assert cluster.rows("SELECT state FROM campaign") == [{"state": "cancelled"}]
