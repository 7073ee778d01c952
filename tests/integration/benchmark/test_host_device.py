"""The host as a device, with real measuring processes and the canary's artifact.

More than 300 lines: all tests share one device, its job and its measuring process.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import psutil
import pytest

from make_schema import json_schema
from nnlite.errors import Failure, FailureClass, Stopped
from nnlite.reports.schema import BenchmarkReport, RunReport
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, DeviceKind, Reason, Stage, Verdict
from nnlite_benchmark.device import InputSpec, RuntimeRefusal
from nnlite_benchmark.host import device as host_device
from nnlite_benchmark.host import process
from nnlite_benchmark.host.energy import PackageEnergy
from nnlite_benchmark.host.launching import ForkServer
from nnlite_benchmark.host.process import run_process
from nnlite_benchmark.protocol import canary, measuring
from nnlite_benchmark.protocol.passes import passes_of
from waiting import HANG_S, JumpingClock, end

#: However busy the machine is, every slice counts.
GATED = {"gated": True, "gate_limit": 1e9, "gate_learn_s": 0.1}
ENDLESS = {"min_runs": 10**9, "max_s": 3600}
NEVER = threading.Event()


LIMITS = MeasurementSettings(
    initialize_timeout_s=HANG_S, warmup_max_s=HANG_S, max_s=HANG_S, few_runs_max_s=HANG_S, grace_s=HANG_S
)


def test_a_real_artifact_gives_a_valid_measurement(make_device, job):
    device = make_device(min_runs=30)

    report = device.run(job, Backend.CPU, stop=NEVER)

    assert (report.verdict, report.reasons) == (Verdict.VALID, ())
    assert report.runs == 30 == len(report.samples_ns)
    assert report.latency.min_ns <= report.latency.median_ns <= report.latency.max_ns
    assert report.init_ns == report.load_ns + report.prepare_ns > 0
    assert report.first_inference_ns > 0
    assert report.parity.ok
    assert report.quiet.quiet
    assert report.delegation.delegated_nodes == report.delegation.total_nodes == 26
    assert report.peak_rss_kb > report.baseline_rss_kb > 0
    assert report.initialization.init_error is None
    assert min(report.initialization.init_cold_ns, report.initialization.init_warm_ns) > 0
    stages = (report.memory.load, report.memory.first_run, report.memory.steady)
    assert 0 < stages[0].model_kb < stages[0].process_kb
    assert [stage.process_kb for stage in stages] == sorted(stage.process_kb for stage in stages)
    assert stages[-1].process_kb == report.peak_rss_kb
    assert report.before.available_ram_kb
    assert report.after.at > report.before.at


@pytest.mark.parametrize("forked", [True, False])
def test_a_measuring_process_asks_for_huge_pages(make_device, job, monkeypatch, forked):
    monkeypatch.setattr(host_device, "ForkServer", ForkServer)
    kernel = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    given = kernel.is_file() and "[never]" not in kernel.read_text()
    asking, other = (
        make_device(fork_server=forked, min_runs=5, huge_pages=asked).run(job, Backend.CPU, stop=NEVER)
        for asked in (True, False)
    )
    assert asking.bounds["huge_pages"] is True
    assert asking.huge_pages_kb >= 0, "the canary's little memory may fit between a fork's small pages"
    if not forked:
        assert (asking.huge_pages_kb > 0) == given
    assert (other.huge_pages_kb, other.bounds["huge_pages"]) == (None, False)


def test_the_plain_cpu_runs_without_xnnpack_and_has_neither_its_cache_nor_a_profile(make_device, job):
    device = make_device(min_runs=5)

    report = device.run(job, Backend.CPU_PLAIN, stop=NEVER)

    assert (report.verdict, report.runs >= 5) == (Verdict.VALID, True)
    assert report.parity.ok, "the canary's outputs are XNNPACK's"
    assert (report.backend, report.delegation, report.initialization) == (Backend.CPU_PLAIN, None, None)
    assert "is not profiled" in device.profile(job, Backend.CPU_PLAIN, stop=NEVER).error


def test_a_real_artifact_is_measured_in_slices_and_teaches_the_device_its_speed(make_device, job):
    device = make_device(min_runs=30, **GATED)

    first, second = (device.run(job, Backend.CPU, stop=NEVER) for _ in range(2))

    assert (first.verdict, first.reasons) == (Verdict.VALID, ())
    gating = first.gating
    assert (gating.counted_runs, gating.counted_share, gating.slow_share) == (first.runs, 1, 0)
    assert first.runs == sum(gating.slice_runs) == len(first.samples_ns) >= 30
    assert len(gating.canaries_ns) == len(gating.slice_runs) + 1
    assert gating.learning_ns
    assert not second.gating.learning_ns
    (seen_ns,) = device.speeds.to_json().values()
    # How many canaries the second run has depends on the machine; few teach nothing.
    assert 0 < second.gating.fast_ns <= max(seen_ns)


def test_the_canaries_drift_does_not_repeat_a_gated_measurement(make_device, job, monkeypatch):
    slower_ns = itertools.count(1000, 500)
    monkeypatch.setattr(measuring, "canary_ns", lambda *_, **__: next(slower_ns))

    report = make_device(max_canary_drift=0.1, **GATED).run(job, Backend.CPU, stop=NEVER)

    assert (report.canary.drift, report.canary.repeated) == (0.5, False)
    assert (report.verdict, report.reasons) == (Verdict.VALID, ())


def test_a_real_report_fits_the_committed_schema(make_device, job):
    device = make_device(**GATED)
    device.prepare()

    report = BenchmarkReport.of(
        model_name=job.model_name,
        artifact_sha256=job.artifact_sha256,
        device=device.context(),
        measurements=(device.run(job, Backend.CPU, stop=NEVER),),
    )

    document = json.loads(report.model_dump_json())
    jsonschema.Draft202012Validator(json_schema()).validate(document)
    assert report.device.kind is DeviceKind.HOST
    assert (document["emulator"], document["duration"]) == (False, report.measurements[0].latency.mean_ns)


@pytest.mark.usefixtures("steady_canary")
def test_measuring_is_pinned_to_the_chosen_cores(make_device, job):
    core = min(os.sched_getaffinity(0))

    report = make_device(cores=str(core)).run(job, Backend.CPU, stop=NEVER)

    assert report.cores == (core,)


@pytest.mark.usefixtures("steady_canary")
@pytest.mark.parametrize("keep", [0, 100, 4000, 8600])
def test_a_truncated_artifact_is_refused_by_the_runtime(make_device, job, tmp_path, keep):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(canary.MODEL_FILE.read_bytes()[:keep])

    with pytest.raises(RuntimeRefusal) as refused:
        make_device().run(replace(job, artifact=broken), Backend.CPU, stop=NEVER)

    assert refused.value.failure_class is FailureClass.RUNTIME
    assert refused.value.stage is Stage.INITIALIZE
    report = refused.value.report
    assert (report.verdict, report.reasons) == (Verdict.INVALID, (Reason.RUNTIME,))
    assert report.error
    assert (report.latency, report.runs) == (None, 0)


@pytest.mark.usefixtures("steady_canary")
def test_inputs_of_the_wrong_size_are_rejected_with_both_sizes(make_device, job):
    wrong = replace(job, inputs=(InputSpec(name="t0", shape=(1, 4, 4, 12), dtype="float32"),))

    with pytest.raises(RuntimeRefusal, match="3072 bytes; 768 were given"):
        make_device().run(wrong, Backend.CPU, stop=NEVER)


@pytest.mark.parametrize("backend", [Backend.GPU, Backend.NPU])
def test_the_host_has_no_other_backend_than_the_cpu(make_device, job, backend):
    with pytest.raises(RuntimeRefusal, match=f"host has no {backend} backend") as refused:
        make_device().run(job, backend, stop=NEVER)

    assert refused.value.report.backend is backend
    assert refused.value.report.verdict is Verdict.INVALID


@pytest.mark.usefixtures("steady_canary")
def test_wrong_outputs_invalidate_the_measurement(make_device, job, tmp_path):
    wrong = tmp_path / "wrong.raw"
    expected = np.frombuffer(canary.EXPECTED_FILE.read_bytes(), "<f4").copy()
    expected[3] += 0.01 * np.ptp(expected)
    wrong.write_bytes(expected.tobytes())

    report = make_device().run(replace(job, expected_outputs=(wrong,)), Backend.CPU, stop=NEVER)

    assert (report.verdict, report.reasons) == (Verdict.INVALID, (Reason.PARITY,))
    assert (report.latency, report.samples_ns) == (None, ())
    assert report.parity.worst == pytest.approx(0.01, rel=0.01)


def test_a_host_with_wrong_canary_output_is_not_ready(make_device, tmp_path, monkeypatch):
    wrong = tmp_path / "expected.f32"
    wrong.write_bytes(np.zeros(canary.OUTPUT_SHAPE, "<f4").tobytes())
    monkeypatch.setattr(canary, "EXPECTED_FILE", wrong)

    with pytest.raises(Failure, match="computes the canary wrongly") as failed:
        make_device().prepare()

    assert (failed.value.failure_class, failed.value.stage) == (FailureClass.DEVICE, Stage.CANARY)


def test_a_drifting_canary_repeats_the_measurement_which_is_then_noisy(make_device, job, monkeypatch):
    heard, slower_ns, canary_ns = [], itertools.count(1000, 500), measuring.canary_ns
    monkeypatch.setattr(
        measuring, "canary_ns", lambda *args, **kwargs: canary_ns(*args, **kwargs) and next(slower_ns)
    )
    device = make_device(lambda stage, pid: heard.append((stage, pid)), max_canary_drift=0.1)

    report = device.run(job, Backend.CPU, stop=NEVER)

    assert len({pid for stage, pid in heard if stage is Stage.CANARY}) == 3
    assert len({pid for stage, pid in heard if stage is Stage.RUN}) == 2
    assert report.canary.repeated
    assert (report.verdict, report.reasons) == (Verdict.NOISY, (Reason.CANARY,))


@pytest.mark.usefixtures("steady_canary")
def test_samples_above_the_limit_are_thinned_but_counted(make_device, job):
    report = make_device(min_runs=40, max_samples=15).run(job, Backend.CPU, stop=NEVER)

    assert (report.runs, len(report.samples_ns), report.samples_kept) == (40, 15, "uniform")


@pytest.mark.usefixtures("steady_canary")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_measuring_process_that_dies_is_a_device_failure_with_its_signal(make_device, job, number):
    def kill(stage, pid):
        if stage is Stage.RUN:
            os.kill(pid, number)

    with pytest.raises(Failure, match=f"ended by {number.name} at run") as failed:
        make_device(kill, **ENDLESS).run(job, Backend.CPU, stop=NEVER)

    assert failed.value.failure_class is FailureClass.DEVICE
    assert failed.value.details["signal"] == number.name
    assert "XNNPACK" in failed.value.details["stderr_tail"]


@pytest.mark.parametrize("hung_at", [Stage.INITIALIZE, Stage.RUN])
def test_a_measuring_process_that_hangs_is_killed_at_its_deadline(make_request, hung_at, monkeypatch):
    pids, clock = [], JumpingClock()
    monkeypatch.setattr(process, "time", clock)

    def hang(stage, pid):
        if stage is hung_at:
            pids.append(pid)
            os.kill(pid, signal.SIGSTOP)
            clock.jump(10 * HANG_S)

    with pytest.raises(Failure, match=f"did not finish {hung_at} within") as failed:
        run_process(make_request(min_runs=10**9, max_s=3600), LIMITS, stop=NEVER, on_stage=hang)

    assert (failed.value.failure_class, failed.value.stage) == (FailureClass.DEVICE, hung_at)
    assert not psutil.pid_exists(pids[0])


@pytest.mark.usefixtures("steady_canary")
def test_stop_ends_a_measurement_and_its_process(make_device, job):
    stop, pids = threading.Event(), []

    def on_stage(stage, pid):
        if stage is Stage.RUN:
            pids.append(pid)
            stop.set()

    with pytest.raises(Stopped):
        make_device(on_stage, **ENDLESS).run(job, Backend.CPU, stop=stop)

    assert not psutil.pid_exists(pids[0])


def test_a_measuring_process_has_its_own_group_and_no_credentials(make_request, monkeypatch):
    monkeypatch.setenv("NNLITE_DATABASE_URL", "postgresql://u:secret@h/d")
    groups, environments = [], []

    def look(stage, pid):
        if stage is Stage.INITIALIZE:
            groups.append((os.getpgid(pid), pid))
            environments.append(Path(f"/proc/{pid}/environ").read_bytes())

    run_process(make_request(), LIMITS, stop=NEVER, on_stage=look)

    assert groups[0][0] == groups[0][1]
    assert b"secret" not in environments[0]


def test_an_invalid_report_is_a_device_failure_that_names_the_field(make_request, monkeypatch):
    monkeypatch.setattr(process, "RunReport", OnlyOlderReports)

    with pytest.raises(Failure, match="does not fit: schema_version") as failed:
        run_process(make_request(), LIMITS, stop=NEVER)

    assert failed.value.failure_class is FailureClass.DEVICE


class OnlyOlderReports(RunReport):
    """Requires what no runner writes."""

    schema_version: int


PARENT = Path(__file__).parent / "programs" / "measuring_parent.py"


def test_a_measuring_process_dies_with_its_parent(make_request):
    request = make_request(min_runs=10**9, max_s=3600)
    parent = subprocess.Popen([sys.executable, PARENT, request.to_json()], stdout=subprocess.PIPE, text=True)
    runner = next(psutil.Process(int(line.split()[1])) for line in parent.stdout if line.startswith("run "))

    end(parent)

    runner.wait(timeout=HANG_S)


def test_a_profile_has_the_time_of_every_operator_of_the_artifact(make_device, job):
    stages = []
    device = make_device(lambda stage, pid: stages.append(stage))
    profile = device.profile(replace(job, threads=1), Backend.CPU, stop=NEVER)

    assert profile.error is None
    assert profile.runs >= 3
    assert [operator.index for operator in profile.operators] == list(range(len(profile.operators)))
    assert {operator.type for operator in profile.operators} == {"RESIZE_BILINEAR", "CONV_2D", "MEAN"}
    assert {operator.delegate for operator in profile.operators} == {"XNNPACK"}
    assert sum(operator.share for operator in profile.operators) == pytest.approx(1)
    # The profiler times operators within the inference.
    assert 0 < sum(operator.time_ns for operator in profile.operators) <= profile.inference_ns
    assert set(stages) == {Stage.PROFILE}


def test_an_artifact_that_cannot_be_profiled_has_a_profile_with_the_reason(make_device, job, tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(canary.MODEL_FILE.read_bytes()[:4000])
    profile = make_device().profile(replace(job, artifact=broken), Backend.CPU, stop=NEVER)
    assert profile.error and not profile.operators


def test_a_measurement_is_bound_to_the_cores_of_its_job(make_device, job):
    device = make_device()
    core = max(device.highest_khz(NEVER))
    report = device.run(replace(job, asked_cores=str(core), cores=(core,)), Backend.CPU, stop=NEVER)
    assert (report.asked_cores, report.cores, report.disturbance.cores) == (str(core), (core,), 1)


def test_a_pass_of_continuous_inference_has_the_latency_of_each_second(make_device, job):
    stages = []
    device = make_device(lambda stage, pid: stages.append(stage))
    asked = replace(job, passes={Stage.SUSTAINED: 2})
    sustained = passes_of(device, asked, Backend.CPU, 0.1, NEVER)["sustained"]

    assert sustained.error is None
    assert sustained.seconds == 2 and sustained.bins.end_ns[-1] >= 2e9
    assert sustained.first_level_ns > 0 and sustained.plateau_ns > 0
    assert set(stages) == {Stage.SUSTAINED}


def test_energy_of_a_host_is_that_of_rapl_or_says_why_it_is_not(make_device, job, monkeypatch, tmp_path):
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    for name, text in (("name", "package-0"), ("max_energy_range_uj", "10000000000"), ("energy_uj", "7")):
        (zone / name).write_text(text)
    device = make_device()
    asked = replace(job, passes={Stage.ENERGY: 1})
    monkeypatch.setattr(host_device, "PackageEnergy", lambda: PackageEnergy(tmp_path))
    counted = passes_of(device, asked, Backend.CPU, 0.1, NEVER)["energy"]
    assert (counted.method, counted.packages, counted.energy_uj) == ("rapl", 1, 0)

    (zone / "energy_uj").unlink()
    why = passes_of(device, asked, Backend.CPU, 0.1, NEVER)["energy_error"]
    assert "no counters of a processor package can be read" in why


def test_a_pass_of_an_artifact_that_cannot_run_has_the_reason(make_device, job, tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(canary.MODEL_FILE.read_bytes()[:4000])
    asked = replace(job, artifact=broken, passes={Stage.SUSTAINED: 2})
    sustained = passes_of(make_device(), asked, Backend.CPU, 0.1, NEVER)["sustained"]
    assert sustained.error and sustained.bins is None


def test_a_profile_can_be_stopped(make_device, job):
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Stopped):
        make_device().profile(job, Backend.CPU, stop=stopped)
