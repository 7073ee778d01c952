"""A campaign from its submission to its results, as its user goes through it."""

import csv
import io
import re
import shlex
import signal
import uuid

import pytest

from integration.canned import finish_benchmark, finish_conversion, refusal
from integration.conftest import Cluster
from nnlite.db.engine import engine_for
from nnlite.errors import Failure, FailureClass
from nnlite.queue import leases
from nnlite.queue.messages import BrokerClient
from nnlite.settings import Settings
from nnlite.settings.groups import QueueSettings
from nnlite.vocabulary import Stage
from waiting import HANG_S


@pytest.fixture
def cluster(servers, database_url, broker_url, tmp_path):
    """What the workers would see of the servers that the command is pointed at."""
    settings = Settings(home=tmp_path, database_url=database_url, broker_url=broker_url, _env_file=None)
    engine, broker = engine_for(database_url), BrokerClient(broker_url, 2)
    yield Cluster(engine, broker, settings)
    broker.close()
    engine.dispose()


def row_of(cluster: Cluster, model: str) -> uuid.UUID:
    (row,) = cluster.rows(
        "SELECT v.id FROM conversion v JOIN model m ON m.id = v.model_id WHERE m.name = :model", model=model
    )
    return row["id"]


def states(cluster: Cluster) -> dict[str, str]:
    rows = cluster.rows("SELECT m.name, v.state FROM conversion v JOIN model m ON m.id = v.model_id")
    return {row["name"]: row["state"] for row in rows}


@pytest.fixture
def night(nnlite, cluster) -> None:
    """A campaign in which one model is measured, one is refused, one failed and one is left out."""
    said = nnlite("submit", "ResNet", "DarkNet", "BagNet", "Talker", "--name", "night", "--pool", "phones")
    assert said.code == 0, said.err
    (good,) = finish_conversion(cluster, row_of(cluster, "ResNet"))
    finish_benchmark(cluster, good.row_id)
    (bad,) = finish_conversion(cluster, row_of(cluster, "DarkNet"))
    finish_benchmark(cluster, bad.row_id, refusal())
    claim = cluster.claim(row_of(cluster, "BagNet"))
    crash = Failure(FailureClass.MODEL, Stage.EXPORT, "data-dependent [control] flow\nmore", {"exit": 1})
    leases.fail(cluster.engine, claim, crash, QueueSettings())


@pytest.mark.usefixtures("night")
def test_the_state_of_a_campaign_has_the_same_words_in_sql_and_in_status(nnlite, cluster):
    for name, end in (("day", None), ("later", "pause"), ("off", "cancel")):
        assert nnlite("submit", "ResNet", "--name", name, "--pool", "phones").code == 0
        assert end is None or nnlite(end, name).code == 0
    views = {row["name"]: row["state"] for row in cluster.rows("SELECT name, state FROM campaign_progress")}
    assert views == {"night": "ended", "day": "active", "later": "paused", "off": "cancelled"}
    assert {row["name"]: row["state"] for row in nnlite("status", "--json").rows} == views
    assert dict(line.split()[:2] for line in nnlite("status").out.splitlines()[1:]) == views


def test_who_submitted_a_campaign_is_shown_where_several_did(nnlite, cluster, environment):
    for user, name in (("Anna", "night"), ("Ben", "day")):
        environment.setenv("NNLITE_USER", user)
        assert nnlite("submit", "ResNet", "--name", name).code == 0

    listed = [line.split()[:2] for line in nnlite("status").out.splitlines()]
    described = nnlite("describe", "night").out

    assert [row for row in listed if row[0] in {"day", "night"}] == [["day", "Ben"], ["night", "Anna"]]
    assert " by Anna" in described
    assert {row["submitted_by"] for row in cluster.rows("SELECT submitted_by FROM campaign")} == {
        "Anna",
        "Ben",
    }


def test_submit_prints_counts_and_the_command_to_watch(nnlite, cluster):
    said = nnlite("submit", "--match", "ga-*", "Talker", "--name", "night", "--priority", "9")
    assert (said.code, said.out) == (0, "")
    assert said.err.splitlines() == [
        "submitted campaign night: 3 models, 1 of them skipped",
        "why skipped: nnlite failures night",
        "waiting: no conversion worker runs: start one with `nnlite worker convert`, unless one is starting",
        "waiting: no worker serves pool host, which never had a device; "
        "start one: `nnlite worker benchmark --pool host --device ...`",
        "watch it: nnlite watch night",
    ]
    assert states(cluster) == {"ga-1": "queued", "ga-2": "queued", "Talker": "skipped"}
    assert cluster.broker.redis.llen("convert") == 2, "the most urgent list"


@pytest.mark.usefixtures("servers")
def test_the_same_request_without_a_name_is_the_same_campaign(nnlite):
    first = nnlite("submit", "--limit", "2", "--seed", "7")
    second = nnlite("submit", "--limit", "2", "--seed", "7")
    assert first.err.startswith("submitted campaign lemur-2-")
    assert second.err == first.err.replace("submitted", "resumed")
    (campaign,) = nnlite("status", "--json").rows
    assert (campaign["models"], campaign["remaining"]) == (2, 2)


@pytest.mark.usefixtures("servers")
def test_describe_prints_the_command_that_submits_the_same(nnlite):
    chosen = ["--match", "ga-*", "--limit", "2", "--seed", "7"]
    nnlite("submit", *chosen, "--precision", "fp16", "--name", "half")
    said = nnlite("describe", "half")
    assert said.code == 0, said.err
    again = said.out.partition("nnlite submit ")[2].strip()
    assert set(re.findall(r"--\S+ \S+", again)) == {
        "--match 'ga-*'", "--limit 2", "--seed 7", "--precision fp16", "--calibration sklearn",
    }  # fmt: skip
    (row,) = nnlite("describe", "half", "--json").rows
    assert (row["models"], row["request"]["seed"]) == (2, 7)


@pytest.mark.usefixtures("night")
def test_status_is_a_row_per_campaign(nnlite):
    nnlite("submit", "ga-1", "--name", "later")
    later, night = nnlite("status", "--json").rows
    assert (later["name"], later["ended"]) == ("later", False)
    assert (night["name"], night["ended"]) == ("night", True)
    counts = ("models", "converted", "measured", "failed", "skipped", "remaining")
    assert [night[name] for name in counts] == [4, 2, 2, 1, 1, 0]
    assert nnlite("status", "later", "--json").rows == [later]
    table = nnlite("status").out
    assert table.index("later") < table.index("night") and "ended" in table


@pytest.mark.usefixtures("night")
def test_results_are_a_table_json_or_csv_of_the_same_measurements(nnlite):
    table = nnlite("results", "night").out
    (line,) = [line for line in table.splitlines() if "ResNet" in line]
    assert re.split("  +", line.strip()) == [
        "ResNet", "1,234", "9 kB", "1e-07 ok", "1.000", "1.000", "1.300", "valid",
    ]  # fmt: skip
    assert "unknown operator" in table

    rows = nnlite("results", "night", "--format", "json").rows
    assert rows == nnlite("results", "night", "--json").rows
    assert [(row["model"], row["verdict"], row["median_ns"]) for row in rows] == [
        ("DarkNet", "invalid", None),
        ("ResNet", "valid", 1_000_000),
    ]

    sheet = list(csv.DictReader(io.StringIO(nnlite("results", "night", "--format", "csv").out)))
    assert list(sheet[0]) == list(rows[0])
    assert [(row["model"], row["median_ns"], row["reasons"]) for row in sheet] == [
        ("DarkNet", "", "runtime"),
        ("ResNet", "1000000", ""),
    ]


@pytest.mark.usefixtures("night")
def test_results_of_some_models_and_whole_reports(nnlite):
    assert [row["model"] for row in nnlite("results", "--model", "R*", "--json").rows] == ["ResNet"]
    (report,) = nnlite("results", "night", "--model", "ResNet", "--format", "reports").rows
    assert (report["model_name"], report["duration"]) == ("ResNet", 1_100_000)


@pytest.mark.usefixtures("servers")
def test_nothing_measured_is_an_answer_too(nnlite):
    nnlite("submit", "ga-1", "--name", "night")
    assert nnlite("results", "night", "--json").rows == []
    assert nnlite("failures", "night", "--json").rows == []
    for arguments in (["results"], ["results", "--format", "csv"], ["failures"]):
        assert nnlite(*arguments).code == 0


@pytest.mark.usefixtures("night")
def test_failures_are_every_model_without_a_result(nnlite):
    failed, skipped = nnlite("failures", "night", "--json").rows
    assert (failed["model"], failed["class"], failed["stage"], failed["state"]) == (
        "BagNet",
        "model",
        "export",
        "failed",
    )
    assert failed["reason"] == "data-dependent [control] flow\nmore" and failed["details"] == {"exit": 1}
    assert (skipped["model"], skipped["state"]) == ("Talker", "skipped")
    table = nnlite("failures", "night").out
    assert "data-dependent [control] flow\n" in table and "more" not in table


def test_a_campaign_that_has_ended_is_paused_with_a_word_about_it(nnlite, cluster):
    nnlite("submit", "ga-1", "--name", "night")
    cluster.change("UPDATE conversion SET state = 'failed'")
    said = "paused night, but nothing of it was queued or running; continue with: nnlite resume night\n"
    assert nnlite("pause", "night").err == said


def test_a_campaign_is_paused_resumed_cancelled_and_tried_again(nnlite, cluster):
    nnlite("submit", "ga-1", "ga-2", "--name", "night")
    assert nnlite("pause", "night").err == "paused night; continue with: nnlite resume night\n"
    assert cluster.claim(row_of(cluster, "ga-1")) is None
    (paused,) = nnlite("status", "--json").rows
    assert (paused["state"], paused["ended"]) == ("paused", False)

    cluster.empty_broker()
    assert nnlite("resume", "night").err == "resumed night\n"
    assert cluster.ready() == 2
    assert cluster.claim(row_of(cluster, "ga-1")) is not None

    assert nnlite("cancel", "night").err == "cancelled night: 2 conversions and benchmarks\n"
    assert states(cluster) == {"ga-1": "cancelled", "ga-2": "cancelled"}
    again = "cancelled night: nothing of it was queued or running; it takes no more work\n"
    assert nnlite("cancel", "night").err == again
    refused = nnlite("resume", "night")
    assert (refused.code, "`nnlite retry night --cancelled`" in refused.err) == (1, True)

    for again in (["retry", "night", "--failed"], ["submit", "ga-1", "ga-2", "--name", "night"]):
        refused = nnlite(*again)
        assert (refused.code, "`nnlite retry night --cancelled`" in refused.err) == (1, True)
    assert states(cluster) == {"ga-1": "cancelled", "ga-2": "cancelled"}
    assert nnlite("retry", "night", "ga-2", "--cancelled").err == "queued again: 1\n"
    assert states(cluster) == {"ga-1": "cancelled", "ga-2": "queued"}


@pytest.mark.usefixtures("night")
def test_retry_queues_failed_work_again(nnlite, cluster):
    assert nnlite("retry", "night").err == "queued again: 0\n"
    assert nnlite("retry", "night", "--failed").err == "queued again: 1\n"
    assert states(cluster)["BagNet"] == "queued"


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize("name", ["[red]", "[/x]", "a b", "ü:smile:", "%s'; --"])
def test_a_campaign_may_have_any_name(nnlite, name):
    assert f"submitted campaign {name}: 1 model\n" in nnlite("submit", "ga-1", "--name", name).err
    assert nnlite("pause", name).err == f"paused {name}; continue with: nnlite resume {shlex.quote(name)}\n"
    assert nnlite("status", name, "--json").rows[0]["name"] == name
    assert name in nnlite("status").out


@pytest.mark.usefixtures("night")
def test_watching_an_ended_campaign_prints_its_result(nnlite):
    said = nnlite("watch", "night")
    assert (said.code, said.out) == (0, "")
    assert said.err == (
        "night: 4/4 models, 2 converted, 2 measured, 1 failed, 1 skipped\n"
        "results: 1 valid, 1 invalid (1 runtime)\n"
        "± is in part assumed: 0 of 19 pairs of runs known; --repeat 5 adds 4 per model\n"
    )


def test_ctrl_c_leaves_a_watched_campaign_running(nnlite, start, cluster):
    nnlite("submit", "ga-1", "--name", "night")
    watching = start("watch", "night")
    assert watching.stderr.readline() == "night: 0/1 models, 0 converted, 0 measured, 0 failed\n"
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=HANG_S)
    assert watching.returncode == 130
    assert err.splitlines()[-1] == "night goes on; watch it again: nnlite watch night"
    assert states(cluster) == {"ga-1": "queued"}
