"""`nnlite submit --follow`: a campaign grows with the tree of NN-GPT that it watches."""

import json
import shutil
import signal

import pytest
from sqlalchemy import event

from generated import Tree, net
from integration.canned import finish_benchmark, finish_conversion
from nnlite.campaigns.control import cancel
from nnlite.campaigns.request import Request, RequestError
from nnlite.campaigns.submit import submit
from nnlite.catalog.nngpt.source import NnGptSource, tag_of
from nnlite.cli.actions.follow import follow
from nnlite.cli.actions.session import Session
from nnlite.vocabulary import Backend
from waiting import HANG_S


@pytest.fixture
def tree(tmp_path) -> Tree:
    tree = Tree(tmp_path / "lab")
    tree.epochs.mkdir(parents=True)
    return tree


@pytest.fixture
def following(cluster, tree):
    """Follow the tree through steps, each of them done between two looks, then Ctrl-C."""
    settings = cluster.settings.model_copy(
        update={"catalog": cluster.settings.catalog.model_copy(update={"settle_s": 0})}
    )
    session = Session(settings=settings, engine=cluster.engine, broker=cluster.broker)

    def run(*steps, **changes):
        remaining = iter(steps)

        def wait(seconds):
            step = next(remaining, None)
            if step is None:
                raise KeyboardInterrupt
            step()

        request = Request(**{"source": "nngpt", "path": (str(tree.root),), **changes})
        with pytest.raises(KeyboardInterrupt):
            follow(session, request, "generation", 5, wait)

    return run


def states(cluster) -> dict[str, str]:
    rows = cluster.rows("SELECT m.name, v.state FROM conversion v JOIN model m ON m.id = v.model_id")
    return {tag_of(row["name"]): row["state"] for row in rows}


def test_complete_models_are_submitted_as_they_appear(following, cluster, tree):
    following(
        lambda: tree.generate("A0_B0"),
        lambda: tree.model("A0_B1"),
        lambda: tree.reject("A0_B2"),
        lambda: tree.evaluate("A0_B0"),
    )
    assert states(cluster) == {"A0_B0": "queued", "A0_B1": "queued", "A0_B2": "skipped"}
    assert cluster.ready() == 2
    assert cluster.rows("SELECT name FROM campaign") == [{"name": "generation"}]


def test_submitted_models_do_not_need_the_tree(following, cluster, tree):
    following(lambda: tree.model("A0_B0"), lambda: shutil.rmtree(tree.root))
    assert states(cluster) == {"A0_B0": "queued"}
    assert cluster.rows("SELECT c.text FROM code c JOIN model m ON m.code_sha256 = c.sha256") == [
        {"text": net("A0_B0")}
    ]


def test_following_again_adds_only_new_models(following, cluster, tree):
    tree.model("A0_B0")
    following()
    tree.model("A0_B1")
    following(lambda: None)
    assert states(cluster) == {"A0_B0": "queued", "A0_B1": "queued"}
    assert cluster.ready() == 2


def test_the_next_run_in_the_same_folders_makes_new_models(following, cluster, tree):
    tree.model("A0_B0")

    def next_run():
        shutil.rmtree(tree.epochs)
        tree.model("A0_B0", code=net("another"))

    following(next_run)
    names = [row["name"] for row in cluster.rows("SELECT name FROM model")]
    assert [tag_of(name) for name in names] == ["A0_B0", "A0_B0"]
    assert len(set(names)) == 2


def test_a_model_skipped_as_incomplete_is_submitted_when_complete(following, cluster, tree):
    tree.generate("A0_B0")
    source = NnGptSource(cluster.settings, path=[tree.root])
    submit(
        cluster.engine,
        cluster.broker,
        Request(source="nngpt", path=(str(tree.root),)),
        models=source.models(),
        source=source,
        settings=cluster.settings,
        name="generation",
        priority=5,
    )
    assert states(cluster) == {"A0_B0": "skipped"}
    following(lambda: tree.evaluate("A0_B0", accuracy=0.625))
    assert cluster.rows("SELECT state, reason, finished_at FROM conversion") == [
        {"state": "queued", "reason": None, "finished_at": None}
    ]
    assert cluster.rows("SELECT accuracy FROM model") == [{"accuracy": 0.625}]
    assert cluster.ready() == 1
    cluster.change("UPDATE conversion SET state = 'skipped', attempt = 1")
    following()
    assert states(cluster) == {"A0_B0": "skipped"}, "a worker left it out and would again"


def test_only_matching_models_are_submitted(following, cluster, tree):
    tree.model("A0_B0")
    tree.model("A1_B0")
    following(match="A1_*")
    assert states(cluster) == {"A1_B0": "queued"}


@pytest.mark.parametrize(
    ("backends", "submitted", "said"),
    [
        ((Backend.ONNXRUNTIME,), {}, "1 ready .tflite file left out, which --backend onnxruntime does not"),
        ((Backend.ONNXRUNTIME, Backend.CPU), {"A0_B0": "queued"}, "1 submitted; 1 model so far"),
    ],
)
def test_ready_files_that_no_backend_executes_are_left_out(
    backends, submitted, said, *, following, cluster, tree, capfd
):
    folder = tree.ready("A0_B0").parent
    following(path=(str(folder),), backends=backends)
    assert states(cluster) == submitted
    assert said in capfd.readouterr().err


def test_a_cancelled_campaign_accepts_no_models(following, cluster, tree):
    def cancelled():
        cancel(cluster.engine, "generation")
        tree.model("A0_B0")

    with pytest.raises(RequestError, match="campaign 'generation' is cancelled"):
        following(cancelled, lambda: None)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [({"source": "lemur", "path": ()}, "does not grow"), ({"limit": 3}, "whatever comes")],
)
def test_invalid_requests_to_follow_are_refused(request_, reason, following):
    with pytest.raises(RequestError, match=reason):
        following(**request_)


@pytest.mark.usefixtures("servers")
def test_ctrl_c_stops_it_gracefully_and_a_plain_submit_resumes_it(start, nnlite, cluster, tree):
    tree.model("A0_B0")
    arguments = ("submit", "--source", "nngpt", "--path", str(tree.root), "--name", "generation")
    process = start(*arguments, "--follow")
    for line in process.stderr:
        if "1 submitted" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    assert "the same command resumes following" in err
    assert states(cluster) == {"A0_B0": "queued"}
    assert "resumed campaign generation" in nnlite(*arguments).err


@pytest.mark.usefixtures("servers")
def test_results_of_a_growing_campaign_are_exported_to_nngpt(following, nnlite, cluster, tree, tmp_path):
    def measured():
        (row,) = cluster.rows("SELECT id FROM conversion WHERE state = 'queued'")
        (message,) = finish_conversion(cluster, row["id"])
        finish_benchmark(cluster, message.row_id)

    tree.model("A0_B0", accuracy=0.75)
    following(measured, lambda: tree.model("A0_B1"), lambda: shutil.rmtree(tree.epochs))
    said = nnlite("export", "nngpt", str(tmp_path / "edge"))
    assert "2 models written to" in said.err
    assert "1 of them measured on host/lab-phone cpu fp32; the best is A0_B0" in said.err
    tracker = json.loads((tmp_path / "edge" / "edge_tracker.json").read_text())
    assert [(m["tag"], m["efficiency"]) for m in tracker["per_model"]] == [("A0_B0", 0.75), ("A0_B1", None)]
    (row,) = nnlite("results", "generation", "--json", "--param-limit", "1000").rows
    assert (row["accuracy"], row["efficiency"], row["param_gate_ok"]) == (0.75, 0.75, False)


def test_postgres_may_be_away_for_a_while(following, cluster, tree, capfd):
    tree.model("A0_B0")

    def nowhere(dialect, record, arguments, options):
        options.update(host="127.0.0.1", port=1)

    def away():
        tree.model("A0_B1")
        cluster.engine.dispose()
        event.listen(cluster.engine, "do_connect", nowhere)

    following(away, lambda: event.remove(cluster.engine, "do_connect", nowhere), lambda: None)
    assert states(cluster) == {"A0_B0": "queued", "A0_B1": "queued"}
    assert "Postgres is away" in capfd.readouterr().err
