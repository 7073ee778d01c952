"""Submitting: everything or nothing, once, and safe from servers that are away."""

import pytest

from integration.canned import CONTEXT, finish_conversion, record_lab_phone
from integration.conftest import Cluster, living_owner
from nnlite.campaigns.request import RequestError
from nnlite.db.engine import DatabaseError, engine_for
from nnlite.queue import leases
from nnlite.queue.messages import BrokerClient
from nnlite.results.devices import record_ready
from nnlite.vocabulary import Backend, DeviceStatus, EvaluateOn, WorkKind


def test_one_conversion_and_one_message_per_model(cluster: Cluster) -> None:
    submitted = cluster.submit("a", "b", "c")
    assert (submitted.models, submitted.resumed, submitted.sent) == (3, False, True)
    assert cluster.rows("SELECT count(*) AS n FROM conversion WHERE state = 'queued'") == [{"n": 3}]
    assert cluster.ready() == 3


def test_the_same_request_under_the_same_name_resumes(cluster: Cluster) -> None:
    first = cluster.submit("a", "b", name="night")
    again = cluster.submit("a", "b", name="night")
    assert (again.id, again.resumed) == (first.id, True)
    assert cluster.ready() == 2
    assert cluster.rows("SELECT count(*) AS n FROM conversion") == [{"n": 2}]


def test_another_request_under_the_same_name_is_refused_with_the_difference(cluster: Cluster) -> None:
    cluster.submit("a", name="night", limit=1)
    with pytest.raises(RequestError, match="with --limit 1; this request is with --limit 2"):
        cluster.submit("a", name="night", limit=2)


def test_more_threads_than_any_known_device_of_the_pool_has_cores_are_refused(cluster: Cluster) -> None:
    record_ready(cluster.engine, CONTEXT, "benchmark@here")
    with pytest.raises(RequestError, match="--threads 9 needs as many cores, lab-phone of pool phones meas"):
        cluster.submit("a", pools=("phones",), threads=(1, 9))
    assert cluster.rows("SELECT * FROM campaign") == []
    cluster.submit("a", pools=("phones",), threads=(1, 8))
    cluster.submit("a", pools=("others",), threads=(1, 9))
    record_lab_phone(cluster, DeviceStatus.STOPPED)
    cluster.submit("a", pools=("phones",), threads=(1, 9))


def test_threads_that_take_longer_than_the_broker_waits_are_refused(cluster: Cluster) -> None:
    with pytest.raises(RequestError, match=r"--threads with 16 numbers may measure .* for \d+ s"):
        cluster.submit("a", threads=tuple(range(1, 17)))
    nine = tuple(range(1, 10))
    cluster.submit("a", threads=nine, backends=(Backend.CPU, Backend.ONNXRUNTIME))  # of one artifact each
    with pytest.raises(RequestError, match="--threads with 9 numbers may measure"):
        cluster.submit("a", threads=nine, backends=(Backend.CPU, Backend.CPU_PLAIN))


def test_the_deadline_of_a_benchmark_grows_with_its_numbers_of_threads(cluster: Cluster) -> None:
    for threads, deadline_s in (((), 100), ((1,), 100), ((1, 2, 4), 120)):
        row = cluster.conversion(cluster.submit("a", threads=threads).id)["id"]
        (message,) = finish_conversion(cluster, row)
        claim = leases.claim(
            cluster.engine, WorkKind.BENCHMARK, message.row_id, living_owner(),
            lease_s=50, deadline_s=100, further_s=10,
        )  # fmt: skip
        assert claim is not None and claim.deadline_s == deadline_s
        assert (claim.payload["threads"] or []) == list(threads)


def test_the_deadline_of_a_benchmark_grows_with_its_passes_of_each_measurement(cluster: Cluster) -> None:
    threads = (1, 2)
    row = cluster.conversion(cluster.submit("a", threads=threads, sustained=300, energy=60).id)["id"]
    (message,) = finish_conversion(cluster, row)
    claim = leases.claim(
        cluster.engine, WorkKind.BENCHMARK, message.row_id, living_owner(),
        lease_s=50, deadline_s=100, further_s=10,
    )  # fmt: skip
    assert claim is not None and claim.deadline_s == 100 + 10 + 2 * (300 + 10) + 2 * (60 + 10)
    assert claim.payload["passes"] == {"sustained": 300, "energy": 60}
    with pytest.raises(RequestError, match="--threads with 9 numbers and --sustained 3600 may measure"):
        cluster.submit("a", threads=tuple(range(1, 10)), sustained=3600)


def test_a_benchmark_that_may_take_longer_than_redis_waits_is_refused(cluster: Cluster) -> None:
    backends = (Backend.CPU, Backend.CPU_PLAIN, Backend.GPU, Backend.NPU)
    asked = {"backends": backends, "pools": ("phones",), "sustained": 60, "energy": 60}
    row = cluster.conversion(cluster.submit("a", **asked).id)["id"]
    (message,) = finish_conversion(cluster, row)
    settings = cluster.settings
    claim = leases.claim(
        cluster.engine, WorkKind.BENCHMARK, message.row_id, living_owner(), lease_s=50,
        deadline_s=settings.benchmark_deadline_s, further_s=settings.further_deadline_s(WorkKind.BENCHMARK),
    )  # fmt: skip
    assert claim is not None and claim.deadline_s < settings.queue.visibility_timeout_s
    with pytest.raises(RequestError, match="--sustained 60 and --energy 60 and --evaluate-on device may"):
        cluster.submit("a", **asked, evaluate_on=EvaluateOn.DEVICE, name="more")


def test_code_that_is_there_is_not_read_again(cluster: Cluster) -> None:
    cluster.submit("a", name="first")
    read = []
    code = cluster.toys.code
    cluster.toys.code = lambda model: read.append(model.name) or code(model)
    cluster.submit("a", "b", name="second")
    assert read == ["b"]
    assert len(cluster.rows("SELECT sha256 FROM code")) == 2


def test_a_skipped_model_has_a_row_with_a_reason_and_no_message(cluster: Cluster) -> None:
    cluster.toys.add("huge", skipped="input 1024 x 1024 is above 512")
    submitted = cluster.submit("huge", "small")
    assert (submitted.skipped, cluster.ready()) == (1, 1)
    assert cluster.rows("SELECT reason FROM conversion WHERE state = 'skipped'") == [
        {"reason": "input 1024 x 1024 is above 512"}
    ]


def test_without_the_broker_the_campaign_is_submitted_unsent(cluster: Cluster) -> None:
    cluster.broker = BrokerClient("redis://127.0.0.1:1/0", 0.2)
    assert not cluster.submit("a").sent
    assert cluster.rows("SELECT state FROM conversion") == [{"state": "queued"}]


def test_without_the_database_nothing_is_submitted(cluster: Cluster) -> None:
    there, cluster.engine = cluster.engine, engine_for("postgresql://nobody@127.0.0.1:1/none", 1)
    with pytest.raises(DatabaseError, match=r"nothing was submitted.*127\.0\.0\.1:1/none"):
        cluster.submit("a")
    cluster.engine = there
    assert (cluster.ready(), cluster.rows("SELECT * FROM campaign")) == (0, [])


def test_code_that_cannot_be_read_submits_nothing(cluster: Cluster) -> None:
    model = cluster.toys.add("gone")
    del cluster.toys.codes[model.code_sha256]
    with pytest.raises(KeyError):
        cluster.submit("here", "gone")
    assert (cluster.ready(), cluster.rows("SELECT * FROM campaign")) == (0, [])


def test_a_priority_is_within_bounds(cluster: Cluster) -> None:
    with pytest.raises(RequestError, match="priority 12 is not within 0-9"):
        cluster.submit("a", priority=12)


def test_a_request_without_models_is_refused(cluster: Cluster) -> None:
    with pytest.raises(RequestError, match="no model matches"):
        cluster.submit()
