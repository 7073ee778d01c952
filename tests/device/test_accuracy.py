"""Accuracy of a digits model in every precision, on the host and on a virtual device."""

from nnlite.campaigns.submit import submit
from nnlite.catalog.lemur.source import LemurSource
from nnlite.vocabulary import Backend, EvaluateOn, Precision
from trained_digits import TrainedDigits

#: In chunks of 8 and of the rest.
SAMPLES = 64


def test_a_digits_model_is_evaluated_on_the_host_and_on_the_device(lab, worker, device, tmp_path):
    trained = TrainedDigits.make(
        tmp_path,
        lab.store,
        SAMPLES,
        evaluate_on=EvaluateOn.DEVICE,
        pools=("rig",),
        backends=(Backend.CPU, Backend.CPU_PLAIN),
    )
    settings = lab.cluster.settings.model_copy(update={"lemur": trained.lemur})
    source = LemurSource(settings, weights=trained.weights)
    lab.start("convert", "worker", "convert", LEMUR=str(trained.lemur))
    campaign = submit(
        lab.cluster.engine, lab.cluster.broker, trained.request, models=source.models(), source=source,
        settings=settings, name="digits", priority=5,
    ).id  # fmt: skip

    def done() -> bool:
        rows = lab.cluster.rows("SELECT state, reason FROM benchmark WHERE campaign_id = :id", id=campaign)
        assert all(row["state"] in {"queued", "running", "done"} for row in rows), rows
        return len(rows) == len(Precision) and all(row["state"] == "done" for row in rows)

    lab.wait(done, "every precision is measured")
    rows = lab.cluster.rows("SELECT * FROM latency WHERE campaign = 'digits'")
    assert {(row["precision"], row["backend"]) for row in rows} == {
        (precision.value, backend) for precision in Precision for backend in ("cpu", "cpu-plain")
    }
    for row in rows:
        assert row["device_evaluation_reason"] is None
        assert row["device_samples"] == row["evaluated_samples"] == SAMPLES
        assert row["torch_top1"] > 0.7
        # The phones' runtime is older: integers may round otherwise, and a sample or two be another class.
        assert abs(row["device_top1"] - row["top1"]) <= 2 / SAMPLES
        assert row["device_no_worse"] >= 0.95
    assert all(row["device_top1"] == row["top1"] for row in rows if row["precision"] == "fp32")
