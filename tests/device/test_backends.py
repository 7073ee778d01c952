"""Refusals, partial delegation and wrong outputs are measurements of a backend, not faults of the device."""

from device.rig.backends import Mode
from device.rig.faults import Fault
from nnlite.vocabulary import Backend


def test_backends_that_reject_are_measurements_with_an_error_and_no_fault(lab, worker, device):
    before = len(lab.incidents(worker.device))
    (row,) = lab.enqueue(backends=tuple(Backend))
    lab.wait_done([row])
    measured = {m["backend"]: m for m in lab.measurements(row)}
    assert (measured["cpu"]["verdict"], measured["cpu"]["runs"]) == ("valid", 10)
    assert (measured["gpu"]["verdict"], measured["gpu"]["reasons"]) == ("invalid", ["runtime"])
    assert (measured["npu"]["verdict"], measured["npu"]["reasons"]) == ("invalid", ["not_delegated"])
    for refused in ("gpu", "npu"):
        assert measured[refused]["error"] and measured[refused]["mean_ns"] is None
    assert len(lab.incidents(worker.device)) == before


def test_the_app_runs_with_each_number_of_threads_and_its_measurements_say_that_it_has_no_profiler(
    lab, worker
):
    (row,) = lab.enqueue(backends=(Backend.CPU, Backend.GPU), threads=(1, 2), profile=True)
    lab.wait_done([row])
    measured = sorted(lab.measurements(row), key=lambda m: (m["backend"], m["threads"]))
    assert [(m["backend"], m["threads"], m["verdict"]) for m in measured] == [
        ("cpu", 1, "valid"), ("cpu", 2, "valid"), ("gpu", 1, "invalid"),
    ]  # fmt: skip
    assert [m["profile"] and m["profile"]["error"] for m in measured] == [
        "TensorFlow Lite in the app has no profiler; profile on a host"
    ] * 2 + [None]


def test_a_pass_of_continuous_inference_follows_the_measurement_on_its_first_run(lab, worker):
    (row,) = lab.enqueue(backends=(Backend.CPU, Backend.GPU), sustained=4)
    lab.wait_done([row])
    measured = {m["backend"]: m for m in lab.measurements(row)}
    sustained = measured["cpu"]["sustained"]
    bins = sustained["bins"]
    assert (measured["cpu"]["verdict"], measured["cpu"]["runs"]) == ("valid", 10)
    assert (sustained["error"], sustained["seconds"], len(bins["runs"])) == (None, 4, 4)
    assert bins["end_ns"][-1] >= 4e9 and sustained["first_level_ns"] == sustained["plateau_ns"] > 0
    assert measured["gpu"]["sustained"] is None, "no latency, no pass"
    (shown,) = lab.cluster.rows("SELECT * FROM sustained")
    assert (shown["seconds"], shown["plateau_ns"]) == (4, sustained["plateau_ns"])
    series = lab.cluster.rows("SELECT * FROM sustained_series ORDER BY bin")
    assert [(each["end_ns"], each["runs"]) for each in series] == [
        *zip(bins["end_ns"], bins["runs"], strict=True)
    ]


def test_the_cpu_is_measured_without_xnnpack_too(lab, worker, device):
    (row,) = lab.enqueue(backends=(Backend.CPU, Backend.CPU_PLAIN))
    lab.wait_done([row])
    cpu, plain = lab.measurements(row)
    assert (cpu["verdict"], plain["verdict"], plain["reasons"]) == ("valid", "valid", [])
    assert (cpu["delegate"], plain["delegate"], plain["backend"]) == (
        "TfLiteXNNPackDelegate", None, "cpu-plain",
    )  # fmt: skip


def test_a_crash_in_a_delegate_is_a_refusal_of_the_runtime(lab, worker, device):
    before = len(lab.incidents(worker.device))
    device.backends(gpu=Mode.WORKS)
    device.fault(Fault.DELEGATE_CRASHES, backend="gpu")
    (row,) = lab.enqueue(backends=(Backend.CPU, Backend.GPU))
    lab.wait_done([row])
    cpu, gpu = lab.measurements(row)
    assert (cpu["verdict"], gpu["verdict"], gpu["reasons"]) == ("valid", "invalid", ["runtime"])
    assert "crashed" in gpu["error"]
    assert len(lab.incidents(worker.device)) == before


def test_a_crash_after_the_report_undoes_no_measurement(lab, worker, device):
    before = len(lab.incidents(worker.device))
    device.backends(gpu=Mode.WORKS)
    library = "libtensorflowlite_gpu_jni.so"
    device.fault(Fault.APP_CRASHES, stage="end", runs="benchmark", backend="gpu", times=1, library=library)
    (row,) = lab.enqueue(backends=(Backend.CPU, Backend.GPU))
    lab.wait_done([row])
    cpu, gpu = lab.measurements(row)
    assert (cpu["verdict"], gpu["verdict"], gpu["error"]) == ("valid", "valid", None)
    assert [outcome for outcome, _ in lab.attempts(row)] == ["done"]
    assert len(lab.incidents(worker.device)) == before
    assert not device.faulty(Fault.APP_CRASHES), "it has crashed"


def test_partial_delegation_is_measured_and_annotated(lab, worker, device):
    device.backends(gpu=Mode.WORKS, npu=Mode.PARTIAL)
    (row,) = lab.enqueue(backends=(Backend.GPU, Backend.NPU))
    lab.wait_done([row])
    gpu, npu = lab.measurements(row)
    assert (gpu["delegate"], gpu["delegated_nodes"]) == ("TfLiteGpuDelegateV2", gpu["total_nodes"])
    assert (npu["verdict"], npu["reasons"]) == ("valid", ["partial_delegation"])
    assert 0 < npu["delegated_nodes"] < npu["total_nodes"]


def test_the_gpu_is_initialized_again_with_its_programs_and_the_cpu_has_no_cache(lab, worker, device):
    device.backends(gpu=Mode.WORKS)
    (row,) = lab.enqueue(backends=(Backend.CPU, Backend.GPU))
    lab.wait_done([row])
    cpu, gpu = lab.measurements(row)
    assert (cpu["init_cold_ns"], cpu["init_warm_ns"]) == (None, None)
    assert min(gpu["init_cold_ns"], gpu["init_warm_ns"]) > 0


def test_wrong_outputs_give_no_latency(lab, worker, device):
    device.fault(Fault.WRONG_OUTPUT, runs="benchmark", times=1)
    (row,) = lab.enqueue()
    lab.wait_done([row])
    (measured,) = lab.measurements(row)
    assert (measured["verdict"], measured["reasons"], measured["mean_ns"]) == ("invalid", ["parity"], None)
