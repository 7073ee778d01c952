"""Benchmarks on this machine with the real queue tables: measured, rejected, requeued.

More than 300 lines: all tests share the store, the queued row and the worker of its fixtures.
"""

import dataclasses
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.canned import finish_conversion, stored_canary
from integration.conftest import Cluster, living_owner
from nnlite.artifacts.store import OUTPUT_SUFFIX, ArtifactStore, content_path
from nnlite.campaigns import control
from nnlite.diagnostics.verify import Outcome as Verification
from nnlite.diagnostics.verify import verify
from nnlite.host.cores import cores_of
from nnlite.results import profiles, queries
from nnlite.results.devices import device_row, record_ready
from nnlite.results.verification import Selection
from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings, QueueSettings
from nnlite.vocabulary import Backend, Mode, Stage, WorkKind, WorkState
from nnlite.worker.attempt import Outcome, WorkerContext, run_attempt
from nnlite_benchmark.benchmarker import Benchmarker
from nnlite_benchmark.host.device import HostDevice
from nnlite_benchmark.protocol import canary
from waiting import HANG_S, wait_until

# A noisy machine must not fail these tests: spread, drift and canary are never judged here.
QUICK = MeasurementSettings(
    warmup_min_runs=1, warmup_min_s=0, warmup_agreeing_runs=0, min_runs=10, min_s=0, canary_runs=4,
    max_mad_ratio=1e9, max_slice_drift=1e9, max_canary_drift=1e9, gate_limit=1e9, gate_learn_s=0,
)  # fmt: skip
ENDLESS = QUICK.model_copy(update={"min_runs": 10**9, "max_s": 3600})

#: A pool may have phones too, so that a host meets backends that it lacks.
MIXED = ("mixed",)
CPU_AND_GPU = (Backend.CPU, Backend.GPU)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")


@pytest.fixture
def make_benchmarker(cluster: Cluster, store: ArtifactStore) -> Iterator[Callable[..., Benchmarker]]:
    """Make what a benchmark worker is made of, without Celery around it."""
    devices = []

    def make(
        measurement: MeasurementSettings = QUICK, on_stage: Callable[[Stage], None] = lambda stage: None
    ) -> Benchmarker:
        settings = Settings(
            home=cluster.settings.home,
            measurement=measurement,
            queue=QueueSettings(heartbeat_s=0.1, lease_s=HANG_S),
            _env_file=None,
        )

        def note(stage: Stage, _pid: int) -> None:
            benchmarker.enter_stage(stage)
            on_stage(stage)

        device = HostDevice(settings, on_stage=note)
        devices.append(device)
        stop = threading.Event()
        context = WorkerContext(
            engine=cluster.engine,
            broker=cluster.broker,
            owner=living_owner("benchmark@here"),
            settings=settings,
            stopping=stop.is_set,
        )
        benchmarker = Benchmarker(context=context, store=store, device=device, stop=stop)
        record_ready(cluster.engine, device.context(), "benchmark@here")
        return benchmarker

    yield make
    for device in devices:
        device.close()


@pytest.fixture
def queued(cluster: Cluster, store: ArtifactStore) -> Callable[..., uuid.UUID]:
    """Convert a model of a new campaign to an artifact in the store; return its queued benchmark."""

    def make(file: Path = canary.MODEL_FILE, **request: object) -> uuid.UUID:
        row = cluster.conversion(cluster.submit("BagNet", name="night", **request).id)["id"]
        (message,) = finish_conversion(cluster, row, **stored_canary(store, file))
        cluster.empty_broker()
        return message.row_id

    return make


def benchmark(benchmarker: Benchmarker, row: uuid.UUID) -> Outcome:
    return run_attempt(benchmarker.context, WorkKind.BENCHMARK, row, benchmarker.run, 120)


def the(cluster: Cluster, kind: WorkKind) -> dict[str, object]:
    (row,) = cluster.rows(f"SELECT state, failure_class, stage, reason, strikes, losses FROM {kind}")
    return row


def test_a_benchmark_has_the_mode_of_its_campaign(cluster, make_benchmarker, queued):
    row = queued(mode=Mode.QUICK)
    assert benchmark(make_benchmarker(), row) is Outcome.DONE
    (measured,) = queries.latencies(cluster.engine, "night")
    (report,) = queries.reports(cluster.engine, "night")
    (said,) = report["measurements"]
    assert (measured["mode"], said["mode"]) == ("quick", "quick")
    assert (said["bounds"]["min_runs"], said["bounds"]["max_s"]) == (64, 1)
    # A second of the canary, as far as the machine gets.
    assert 5 <= measured["runs"] <= 64


def test_an_artifact_is_measured_on_the_host(cluster, make_benchmarker, queued):
    stages = []
    row = queued()
    assert benchmark(make_benchmarker(on_stage=stages.append), row) is Outcome.DONE
    (measured,) = queries.latencies(cluster.engine, "night")
    assert (measured["model"], measured["kind"], measured["pool"]) == ("BagNet", "host", "host")
    assert (measured["verdict"], measured["reasons"], measured["error"]) == ("valid", [], None)
    assert 0 < measured["min_ns"] <= measured["median_ns"] <= measured["max_ns"]
    (samples,) = cluster.rows("SELECT samples_ns FROM measurement")
    assert len(samples["samples_ns"]) == measured["runs"] >= 10
    (report,) = queries.reports(cluster.engine, "night")
    assert (report["valid"], report["emulator"], report["measurements"][0]["parity"]["ok"]) == (
        True,
        False,
        True,
    )
    assert [stage for stage in stages if stage is not Stage.CANARY] == [
        Stage.QUIET,
        Stage.INITIALIZE,
        Stage.WARM_UP,
        Stage.RUN,
    ]


def test_the_outputs_of_the_device_are_stored_and_the_measurement_is_verified(
    cluster, make_benchmarker, queued, store
):
    assert benchmark(make_benchmarker(), queued()) is Outcome.DONE
    (report,) = queries.reports(cluster.engine, "night")
    (output,) = report["measurements"][0]["outputs"]
    assert (output["dtype"], tuple(output["shape"]), output["kept"]) == ("float32", canary.OUTPUT_SHAPE, True)
    file = store.fetch(content_path(output["sha256"], OUTPUT_SUFFIX))
    (row,) = verify(cluster.engine, store, Selection())
    assert (row.outcome, row.differences, row.notes) == (Verification.VERIFIED, (), ())
    file.write_bytes(b"other")
    (row,) = verify(cluster.engine, store, Selection())
    # Where it is byte for byte the host's it is one file.
    assert {each.field for each in row.differences} & {"outputs[0]", "reference_outputs[0]"}


@pytest.mark.usefixtures("steady_canary")
def test_what_a_gated_run_counted_and_taught_is_stored(cluster, make_benchmarker, queued):
    row = queued()
    benchmarker = make_benchmarker(QUICK.model_copy(update={"gated": True}))
    benchmarker.device.speeds.load({"another CPU": [7]})
    assert benchmark(benchmarker, row) is Outcome.DONE
    (measured,) = queries.latencies(cluster.engine, "night")
    assert (measured["counted_runs"], measured["counted_share"]) == (measured["runs"], 1)
    assert (measured["all_median_ns"], measured["all_min_ns"]) == (measured["median_ns"], measured["min_ns"])
    (slices,) = cluster.rows("SELECT canaries_ns, slice_runs, fast_ns FROM measurement")
    assert sum(slices["slice_runs"]) == measured["runs"]
    assert len(slices["canaries_ns"]) == len(slices["slice_runs"]) + 1
    (report,) = queries.reports(cluster.engine, "night")
    assert report["measurements"][0]["gating"]["fast_ns"] == measured["fast_ns"] == slices["fast_ns"] > 0
    speeds = device_row(cluster.engine, benchmarker.device.name).fast_speeds
    assert speeds == benchmarker.device.speeds.to_json() == {"another CPU": [7]} | speeds


@pytest.mark.usefixtures("steady_canary")
def test_a_missing_backend_is_a_measurement_with_an_error(cluster, make_benchmarker, queued):
    row = queued(backends=CPU_AND_GPU, pools=MIXED)
    assert benchmark(make_benchmarker(), row) is Outcome.DONE
    cpu, gpu = queries.latencies(cluster.engine, "night")
    assert (cpu["backend"], cpu["verdict"]) == ("cpu", "valid")
    assert (gpu["backend"], gpu["verdict"], gpu["reasons"], gpu["median_ns"]) == (
        "gpu",
        "invalid",
        ["runtime"],
        None,
    )
    assert gpu["error"] == "host has no gpu backend"


@pytest.mark.usefixtures("steady_canary")
def test_each_number_of_threads_is_a_measurement(cluster, make_benchmarker, queued):
    # Before the device is known: then it would be refused at submit.
    cores = len(cores_of(cluster.settings).measuring)
    row = queued(backends=CPU_AND_GPU, pools=MIXED, threads=(1, cores, cores + 1))
    benchmarker = make_benchmarker()
    assert benchmark(benchmarker, row) is Outcome.DONE
    *measured, refused, gpu = queries.latencies(cluster.engine, "night")
    assert [(each["threads"], each["verdict"]) for each in measured] == [
        (threads, "valid") for threads in sorted({1, cores})
    ]
    assert (refused["threads"], refused["verdict"], refused["reasons"], refused["median_ns"]) == (
        cores + 1, "invalid", ["too_few_cores"], None,
    )  # fmt: skip
    asked = f"{cores + 1} threads were asked for, {benchmarker.device.name} measures on {cores} cores"
    assert refused["error"] == asked
    assert (gpu["backend"], gpu["threads"]) == ("gpu", 1), "once, whatever the threads"
    (report,) = queries.reports(cluster.engine, "night")
    said = [each["threads"] for each in report["measurements"]]
    assert said == [each["bounds"]["threads"] for each in report["measurements"]]


@pytest.mark.usefixtures("steady_canary")
def test_the_first_run_of_an_artifact_is_profiled_where_the_campaign_asks_for_it(
    cluster, make_benchmarker, queued
):
    benchmarker = make_benchmarker()
    assert benchmark(benchmarker, queued(profile=True, repeat=2, backends=CPU_AND_GPU, pools=MIXED)) is (
        Outcome.DONE
    )
    profiled = profiles.operators(cluster.engine, "night", by_type=True)
    assert {row["type"]: row["operators"] for row in profiled} == {
        "CONV_2D": 24, "MEAN": 1, "RESIZE_BILINEAR": 1,
    }  # fmt: skip
    cluster.change("UPDATE benchmark SET available_at = now() WHERE run = 2")
    (again,) = cluster.rows("SELECT id FROM benchmark WHERE run = 2")
    assert benchmark(benchmarker, again["id"]) is Outcome.DONE
    (row,) = cluster.rows("SELECT count(*) AS n FROM measurement WHERE profile IS NOT NULL")
    assert row == {"n": 1}


@pytest.mark.usefixtures("steady_canary")
def test_a_campaign_measures_on_the_cores_that_it_names_and_what_is_not_there_is_refused(
    cluster, make_benchmarker, queued
):
    benchmarker = make_benchmarker()
    core = max(benchmarker.device.highest_khz(benchmarker.stop))
    assert benchmark(benchmarker, queued(cores=str(core))) is Outcome.DONE
    (measured,) = queries.latencies(cluster.engine, "night")
    assert (measured["asked_cores"], measured["cores"], measured["verdict"]) == (str(core), [core], "valid")
    cluster.change('UPDATE campaign SET request = request || \'{"cores": "999"}\'')
    cluster.change("UPDATE benchmark SET state = 'queued'")
    (row,) = cluster.rows("SELECT id FROM benchmark")
    assert benchmark(benchmarker, row["id"]) is Outcome.DONE
    (refused,) = queries.latencies(cluster.engine, "night")
    assert (refused["verdict"], refused["reasons"]) == ("invalid", ["too_few_cores"])
    assert f"--cores 999 on {benchmarker.device.name}: there is no core 999" in refused["error"]


@pytest.mark.usefixtures("steady_canary")
def test_a_pass_of_continuous_inference_is_made_in_the_first_run_only(cluster, make_benchmarker, queued):
    benchmarker = make_benchmarker()
    row = queued(sustained=1, repeat=2)
    assert benchmark(benchmarker, row) is Outcome.DONE
    cluster.change("UPDATE benchmark SET available_at = now() WHERE run = 2")
    (again,) = cluster.rows("SELECT id FROM benchmark WHERE run = 2")
    assert benchmark(benchmarker, again["id"]) is Outcome.DONE
    (row,) = cluster.rows("SELECT seconds, error, median_ns IS NOT NULL AS measured FROM sustained")
    assert row == {"seconds": 1, "error": None, "measured": True}
    (report, _) = queries.reports(cluster.engine, "night")
    assert "bins" not in report["measurements"][0]["sustained"], "the series has a column of its own"


@pytest.mark.usefixtures("steady_canary")
def test_where_parity_is_off_there_is_neither_a_latency_nor_a_profile(
    cluster, make_benchmarker, queued, store, tmp_path
):
    row = queued(profile=True)
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(bytes(canary.EXPECTED_FILE.stat().st_size))
    cluster.change("UPDATE artifact SET reference_outputs = :paths", paths=[store.put(wrong, ".bin")])
    assert benchmark(make_benchmarker(), row) is Outcome.DONE
    (measured,) = cluster.rows("SELECT reasons, median_ns, profile FROM measurement")
    assert measured == {"reasons": ["parity"], "median_ns": None, "profile": None}


@pytest.mark.usefixtures("steady_canary")
def test_an_artifact_that_the_runtime_rejects_is_a_measurement_with_an_error(
    cluster, make_benchmarker, queued, tmp_path
):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(canary.MODEL_FILE.read_bytes()[:4000])
    assert benchmark(make_benchmarker(), queued(broken)) is Outcome.DONE
    (refused,) = queries.latencies(cluster.engine, "night")
    assert (refused["verdict"], refused["reasons"], refused["median_ns"]) == ("invalid", ["runtime"], None)
    assert refused["error"]
    assert queries.failures(cluster.engine) == []


def remove(file: Path) -> None:
    file.unlink()


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [remove, truncate])
@pytest.mark.parametrize("what", ["artifact", "reference output"])
def test_a_missing_or_damaged_file_requeues_its_conversion(cluster, make_benchmarker, queued, harm, what):
    row = queued()
    store = make_benchmarker().store
    (paths,) = cluster.rows("SELECT path, reference_outputs FROM artifact")
    path = paths["path"] if what == "artifact" else paths["reference_outputs"][0]
    harm(Path(store.url) / path)

    assert benchmark(make_benchmarker(), row) is Outcome.FAILED

    waiting = the(cluster, WorkKind.BENCHMARK)
    assert (waiting["state"], waiting["failure_class"], waiting["stage"]) == (
        "queued",
        "infrastructure",
        "fetch",
    )
    assert path in waiting["reason"] and "the model is converted again" in waiting["reason"]
    assert (waiting["strikes"], waiting["losses"]) == (0, 0)
    assert the(cluster, WorkKind.CONVERSION)["state"] == "queued"
    assert not store.holds(path), "what is broken would only be taken for the result again"
    assert (cluster.ready("convert"), cluster.ready("benchmark.host")) == (1, 1)


@pytest.mark.usefixtures("steady_canary")
def test_an_artifact_that_was_converted_again_is_measured(cluster, make_benchmarker, queued):
    row = queued()
    benchmarker = make_benchmarker()
    (artifact,) = cluster.rows("SELECT path FROM artifact")
    benchmarker.store.discard(artifact["path"])
    assert benchmark(benchmarker, row) is Outcome.FAILED
    assert benchmark(benchmarker, row) is Outcome.NOTHING, "it pauses"

    (conversion,) = cluster.rows("SELECT id FROM conversion")
    (message,) = finish_conversion(cluster, conversion["id"], **stored_canary(benchmarker.store))
    cluster.change("UPDATE benchmark SET available_at = now()")
    assert message.row_id == row
    assert benchmark(benchmarker, row) is Outcome.DONE
    assert len(queries.latencies(cluster.engine, "night")) == 1


def test_a_missing_file_of_a_failed_conversion_fails_its_benchmark(cluster, make_benchmarker, queued):
    row = queued()
    benchmarker = make_benchmarker()
    (artifact,) = cluster.rows("SELECT path FROM artifact")
    benchmarker.store.discard(artifact["path"])
    cluster.change("UPDATE conversion SET state = 'quarantined'")
    assert benchmark(benchmarker, row) is Outcome.FAILED
    (progress,) = queries.campaigns(cluster.engine, "night")
    assert (progress.ended, progress.benchmarks_failed) == (True, 1)
    assert "the conversion that made it ended as quarantined" in the(cluster, WorkKind.BENCHMARK)["reason"]
    states = [WorkState.FAILED, WorkState.QUARANTINED]
    assert control.retry(cluster.engine, cluster.broker, "night", states) == 2, "both are tried again"


def test_an_unavailable_store_is_an_infrastructure_failure(cluster, make_benchmarker, queued, tmp_path):
    row = queued()
    benchmarker = make_benchmarker()
    benchmarker.store = ArtifactStore(str(canary.MODEL_FILE), tmp_path / "cache")
    assert benchmark(benchmarker, row) is Outcome.FAILED
    waiting = the(cluster, WorkKind.BENCHMARK)
    assert (waiting["state"], waiting["failure_class"]) == ("queued", "infrastructure")
    assert "artifact store" in waiting["reason"] and "cannot be used" in waiting["reason"]
    assert the(cluster, WorkKind.CONVERSION)["state"] == "done", "nothing is known to be gone"


@pytest.mark.usefixtures("steady_canary")
def test_cancelling_a_campaign_ends_its_measurement(cluster, make_benchmarker, queued):
    row = queued()

    def cancel(stage: Stage) -> None:
        if stage is Stage.RUN:
            control.cancel(cluster.engine, "night")

    assert benchmark(make_benchmarker(ENDLESS, cancel), row) is Outcome.NOT_STORED
    assert the(cluster, WorkKind.BENCHMARK)["state"] == "cancelled"
    assert queries.latencies(cluster.engine, "night") == []


@pytest.mark.usefixtures("steady_canary")
def test_a_stopped_worker_requeues_its_benchmark(cluster, make_benchmarker, queued):
    row = queued()

    def stop(stage: Stage) -> None:
        if stage is Stage.RUN:
            benchmarker.stop.set()

    benchmarker = make_benchmarker(ENDLESS, stop)
    assert benchmark(benchmarker, row) is Outcome.RELEASED
    released = the(cluster, WorkKind.BENCHMARK)
    assert (released["state"], released["failure_class"], released["strikes"]) == ("queued", "released", 0)
    assert cluster.ready("benchmark.host") == 1


@pytest.mark.usefixtures("steady_canary")
def test_heartbeats_write_the_stage(cluster, make_benchmarker, queued):
    row = queued()
    seen = threading.Event()

    def look(stage: Stage) -> None:
        if stage is Stage.RUN:
            threading.Thread(target=wait_for_heartbeat).start()

    def wait_for_heartbeat() -> None:
        try:
            wait_until(lambda: cluster.rows("SELECT id FROM benchmark WHERE stage = 'run'"), "a heartbeat")
            seen.set()
        finally:
            benchmarker.stop.set()

    benchmarker = make_benchmarker(ENDLESS, look)
    assert benchmark(benchmarker, row) is Outcome.RELEASED
    assert seen.is_set()


@pytest.mark.usefixtures("steady_canary")
def test_a_running_benchmark_marks_its_progress(make_benchmarker, queued):
    signs = []
    benchmarker = make_benchmarker()
    benchmarker.context = dataclasses.replace(benchmarker.context, mark_progress=lambda: signs.append(1))
    assert benchmark(benchmarker, queued()) is Outcome.DONE
    assert len(signs) >= 2
