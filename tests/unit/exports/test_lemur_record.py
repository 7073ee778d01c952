"""Records of phones for nn-dataset: the processor as its readers look for it."""

from datetime import UTC, datetime

from nnlite.exports.lemur_record import lemur_record
from nnlite.reports.schema import BenchmarkReport, MeasurementReport
from nnlite.vocabulary import Backend, DeviceKind, Precision, QuietMode, Stage, Verdict
from nnlite_benchmark.android.properties.analytics import android_context
from unit.android.recorded_device import recorded


def cpu_info(device):
    """Return what a record says of the processor of a recorded device."""
    measurement = MeasurementReport(
        backend=Backend.CPU, precision=Precision.FP32, verdict=Verdict.INVALID, threads=1, stage=Stage.RUN,
        started_at=datetime(2026, 11, 29, tzinfo=UTC), runtime="TFLite", runtime_version="2.16.1",
    )  # fmt: skip
    context = android_context(
        recorded(device),
        name="usb:abc",
        kind=DeviceKind.PHONE,
        pool="phones",
        quiet_mode=QuietMode.OWN_MACHINE,
    )
    report = BenchmarkReport.of(
        model_name="AirNet", artifact_sha256="a" * 64, device=context, measurements=(measurement,)
    )
    record = lemur_record("AirNet", report.model_dump(mode="json"), (1, 32, 32, 3), "night", {})
    return record["device_analytics"]["cpu_info"]


def test_an_arm_processor_has_its_architecture_and_every_core():
    cpu = cpu_info("pixel_8")

    assert cpu["model_name"] == "4 x Cortex-A510 + 4 x Cortex-A715 + 1 x Cortex-X3"
    assert cpu["arm_architecture"]["hardware"] == "zuma", "its kernel prints none"
    assert {name: cpu["arm_architecture"][name] for name in ("cpu_implementer", "cpu_part")} == {
        "cpu_implementer": "0x41", "cpu_part": "0xd4e",
    }  # fmt: skip
    assert "asimd" in cpu["arm_architecture"]["features"].split()
    assert [core["processor"] for core in cpu["processors"]] == [str(number) for number in range(9)]


def test_a_kernel_that_names_the_hardware_is_believed_and_x86_has_no_arm_architecture():
    assert cpu_info("galaxy_s7_us")["arm_architecture"]["hardware"].startswith("Qualcomm")
    assert cpu_info("virtualbox_x86_64")["arm_architecture"] is None
