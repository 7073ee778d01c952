"""Conversions through the real queue tables: stored rows and files, the cache, failures."""

import os
import signal
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from integration.conftest import Cluster, living_owner
from nnlite.artifacts.calibration import Calibration, CalibrationKind, pack
from nnlite.artifacts.store import ArtifactStore
from nnlite.host.cores import choose_cores
from nnlite.results import queries
from nnlite.settings.groups import CatalogSettings
from nnlite.vocabulary import Int8Io, Precision, WorkKind
from nnlite.worker.attempt import Outcome, WorkerContext, run_attempt
from nnlite_conversion import converter as module
from nnlite_conversion.cache_key import cache_key, converter_tag
from nnlite_conversion.converter import Converter
from nnlite_conversion.pipeline import making
from nnlite_conversion.pipeline.quantizing.quantization import Quantized


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")


@pytest.fixture
def convert(cluster: Cluster, store: ArtifactStore) -> Callable[..., Outcome]:
    """Make one attempt at the conversion of a campaign with one model."""

    def attempt(
        campaign: uuid.UUID,
        into: ArtifactStore = store,
        mark_progress: Callable[[], None] = lambda: None,
        can_fork: Callable[[], bool] = lambda: True,
    ) -> Outcome:
        context = WorkerContext(
            engine=cluster.engine,
            broker=cluster.broker,
            owner=living_owner(),
            settings=cluster.settings,
            stopping=lambda: False,
            mark_progress=mark_progress,
        )
        converter = Converter(context=lambda: context, store=into, cores=choose_cores(""), can_fork=can_fork)
        row = cluster.conversion(campaign)["id"]
        return run_attempt(context, WorkKind.CONVERSION, row, converter.run, 120)

    return attempt


@pytest.fixture
def converted(cluster: Cluster, convert: Callable[..., Outcome]) -> dict[str, Any]:
    """The artifact of a model that was really converted."""
    assert convert(cluster.submit("tiny", name="night").id) is Outcome.DONE
    (artifact,) = cluster.rows("SELECT * FROM artifact")
    return artifact


def test_artifact_is_stored_with_all_attributes(cluster, store, converted):
    model = cluster.toys.models()[0]
    assert converted["cache_key"] == cache_key(model.identity, Precision.FP32)
    assert store.fetch(converted["path"]).stat().st_size == converted["size_bytes"]
    (reference,) = converted["reference_outputs"]
    assert store.fetch(reference).stat().st_size == 10 * 4
    assert (converted["parity_state"], converted["parity"]["reason"]) == ("ok", None)
    assert (converted["parameters"], converted["input_shape"]) == (8 * 8 * 3 * 10 + 10, [1, 3, 8, 8])
    (tensor,) = converted["inputs"]["tensors"]
    assert (tensor["shape"], tensor["dtype"], tensor["quantization"]) == ([1, 8, 8, 3], "float32", None)
    assert converted["operators"]["FULLY_CONNECTED"] == 1
    assert converted["graph_operators"]["aten.linear"] == 1
    assert {"operator": "aten.linear", "precision": "fp32", "state": "ok", "models": 1} in cluster.rows(
        "SELECT * FROM op_support"
    )
    (conversion,) = cluster.rows("SELECT state, cached, timings_ns FROM conversion")
    assert (conversion["state"], conversion["cached"]) == ("done", False)
    assert set(conversion["timings_ns"]) == {"load", "export", "lower", "parity"}
    assert cluster.ready("benchmark.host") == 1


def test_a_conversion_waits_until_its_processes_can_be_forked(cluster, convert):
    answers = iter([False, False])
    assert convert(cluster.submit("tiny").id, can_fork=lambda: next(answers, True)) is Outcome.DONE
    assert next(answers, None) is None


def test_second_campaign_uses_the_cache(cluster, convert, converted, monkeypatch):
    monkeypatch.setattr(module, "convert", None)
    campaign = cluster.submit("tiny", name="day").id
    # To ask whether a child can be forked makes the fork server import PyTorch.
    assert convert(campaign, can_fork=lambda: pytest.fail("it was asked for")) is Outcome.DONE
    (progress,) = queries.campaigns(cluster.engine, "day")
    assert (progress.converted, progress.from_cache, progress.benchmarks_queued) == (1, 1, 1)
    assert cluster.rows("SELECT count(*) AS n FROM artifact") == [{"n": 1}]


@pytest.mark.parametrize("what", ["artifact", "reference output"])
def test_artifact_missing_from_the_store_is_converted_again(cluster, store, convert, converted, what):
    path = converted["path"] if what == "artifact" else converted["reference_outputs"][0]
    store.discard(path)
    assert convert(cluster.submit("tiny", name="day").id) is Outcome.DONE
    (again,) = cluster.rows("SELECT * FROM artifact")
    assert store.fetch(again["path"]) and store.fetch(again["reference_outputs"][0])
    (progress,) = queries.campaigns(cluster.engine, "day")
    assert (progress.converted, progress.from_cache) == (1, 0)


def test_unusable_store_does_not_count_as_a_strike(cluster, convert, tmp_path):
    blocked = tmp_path / "artifacts"
    blocked.write_text("a file where a folder should be")
    campaign = cluster.submit("tiny").id
    assert convert(campaign, ArtifactStore(str(blocked), tmp_path / "cache")) is Outcome.FAILED
    waiting = cluster.conversion(campaign)
    assert (waiting["state"], waiting["failure_class"], waiting["strikes"]) == ("queued", "infrastructure", 0)
    assert f"the artifact store {blocked} cannot be used" in waiting["reason"]
    assert not [file for file in (tmp_path / "conversions").rglob("*") if file.is_file()]
    blocked.unlink()
    cluster.change("UPDATE conversion SET available_at = now()")
    assert convert(campaign) is Outcome.DONE


def test_model_above_the_campaigns_limit_is_skipped_with_its_parameter_count(cluster, convert):
    limits = CatalogSettings(max_parameters=1000)
    cluster.settings = cluster.settings.model_copy(update={"catalog": limits})
    assert convert(cluster.submit("tiny", name="night").id) is Outcome.DONE
    (skipped,) = queries.failures(cluster.engine, "night")
    assert skipped["state"] == "skipped" and "1,000" in skipped["reason"]
    assert cluster.rows("SELECT parameters FROM model") == [{"parameters": 1930}]
    assert cluster.rows("SELECT id FROM benchmark") == []


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import no_such_module\nno_such_module.draw()", "no_such_module"),
        ("class Net:\n    def __init__(self, *_): raise ValueError('nul \\0 byte')", "nul"),
        ("def supported_hyperparameters():\n    return {'lr'}", "Net"),
    ],
)
def test_model_that_cannot_be_built_fails_finally_with_its_error(cluster, convert, code, says):
    cluster.toys.add("broken", code)
    campaign = cluster.submit("broken", name="night").id
    assert convert(campaign) is Outcome.FAILED
    (failure,) = queries.failures(cluster.engine, "night")
    assert (failure["state"], failure["class"], failure["stage"]) == ("failed", "model", "load")
    assert says in failure["reason"]
    assert failure["details"]["timings_ns"]["load"] > 0


def test_cache_key_depends_on_model_precision_and_converter(monkeypatch):
    key = cache_key("a" * 64, Precision.FP32)
    assert key == cache_key("a" * 64, Precision.FP32)
    assert len({key, cache_key("b" * 64, Precision.FP32), cache_key("a" * 64, Precision.INT8)}) == 3
    assert "litert-torch" in converter_tag() and "adaptive_max_pool2d" in converter_tag()
    monkeypatch.setattr("nnlite_conversion.cache_key.converter_tag", lambda revised: "another one")
    assert cache_key("a" * 64, Precision.FP32) != key


CALIBRATED = Calibration(kind=CalibrationKind.SKLEARN, samples=2)
FOUR = (Precision.FP32, Precision.FP16, Precision.DYNAMIC, Precision.INT8)


def test_further_precisions_are_made_from_the_cached_fp32_artifact(cluster, convert, converted):
    wanted = {"precisions": FOUR, "calibration": CALIBRATED}
    assert convert(cluster.submit("tiny", name="four", **wanted).id) is Outcome.DONE

    (conversion,) = cluster.rows("SELECT * FROM conversion ORDER BY finished_at DESC LIMIT 1")
    assert not conversion["cached"] and not {"export", "lower"} & set(conversion["timings_ns"])
    made = {row["precision"]: row for row in cluster.rows("SELECT * FROM artifact")}
    assert set(made) == set(FOUR) and made["fp32"]["id"] == converted["id"]
    assert made["fp32"]["created_at"] == converted["created_at"]
    assert made["int8"]["calibration"]["provenance"] == "sklearn-photos, not representative"
    assert (made["int8"]["calibration"]["samples"], made["int8"]["calibration"]["seed"]) == (2, 0)
    assert made["dynamic"]["calibration"] is None
    assert made["dynamic"]["parity"]["samples"] == 2 and made["dynamic"]["parity"]["sqnr_db"] > 20
    assert cluster.rows(
        "SELECT count(*) AS n FROM benchmark WHERE conversion_id = :id", id=conversion["id"]
    ) == [{"n": 4}]


def test_refused_precision_is_recorded_and_not_tried_again(cluster, convert, monkeypatch):
    def fails(fp32: Path, target: Path, data: Any) -> Quantized:
        raise RuntimeError("no such scheme")

    broken = making.QUANTIZERS | {Precision.DYNAMIC: fails}
    monkeypatch.setattr(making, "QUANTIZERS", broken)
    wanted = {"precisions": (Precision.FP32, Precision.DYNAMIC), "calibration": CALIBRATED}
    assert convert(cluster.submit("tiny", name="night", **wanted).id) is Outcome.DONE

    monkeypatch.setattr(module, "convert", None)
    assert convert(cluster.submit("tiny", name="day", **wanted).id) is Outcome.DONE
    alone = wanted | {"precisions": (Precision.DYNAMIC,)}
    assert convert(cluster.submit("tiny", name="alone", **alone).id) is Outcome.DONE

    for campaign in ("night", "day", "alone"):
        (failure,) = queries.failures(cluster.engine, campaign)
        assert (failure["state"], failure["precision"], failure["stage"]) == (
            "refused",
            "dynamic",
            "quantize",
        )
        assert failure["reason"].startswith("the quantizer fails: RuntimeError: no such scheme, at ")
        (progress,) = queries.campaigns(cluster.engine, campaign)
        assert progress.precisions_refused == 1 and progress.failed == 0
        assert progress.benchmarks_queued == (campaign != "alone")
    assert progress.ended, "of the last one nothing is left to do"
    (summed,) = cluster.rows("SELECT * FROM failure_summary WHERE campaign = 'day'")
    assert (summed["precision"], summed["models"]) == ("dynamic", 1)


def test_a_precision_that_was_refused_by_another_quantizer_is_tried_again(cluster, convert, monkeypatch):
    def fails(fp32: Path, target: Path, data: Any) -> Quantized:
        raise RuntimeError("no such scheme")

    wanted = {"precisions": (Precision.FP32, Precision.DYNAMIC), "calibration": CALIBRATED}
    with monkeypatch.context() as broken:
        broken.setattr(making, "QUANTIZERS", making.QUANTIZERS | {Precision.DYNAMIC: fails})
        assert convert(cluster.submit("tiny", name="night", **wanted).id) is Outcome.DONE

    monkeypatch.setattr("nnlite_conversion.plan.QUANTIZING", 10**6)
    assert convert(cluster.submit("tiny", name="day", **wanted).id) is Outcome.DONE

    assert queries.failures(cluster.engine, "day") == []
    rows = cluster.rows("SELECT precision FROM artifact ORDER BY precision")
    assert [row["precision"] for row in rows] == ["dynamic", "fp32"]


def test_a_precision_that_crashed_is_tried_again_by_the_next_campaign(cluster, convert, monkeypatch):
    def crashes(fp32: Path, target: Path, data: Any) -> Quantized:
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError("not reached")

    wanted = {"precisions": (Precision.FP32, Precision.DYNAMIC), "calibration": CALIBRATED}
    with monkeypatch.context() as broken:
        broken.setattr(making, "QUANTIZERS", making.QUANTIZERS | {Precision.DYNAMIC: crashes})
        assert convert(cluster.submit("tiny", name="night", **wanted).id) is Outcome.DONE
    (failure,) = queries.failures(cluster.engine, "night")
    assert (failure["state"], failure["precision"], failure["class"]) == ("refused", "dynamic", "converter")
    assert cluster.rows("SELECT precision FROM artifact") == [{"precision": "fp32"}]

    assert convert(cluster.submit("tiny", name="day", **wanted).id) is Outcome.DONE
    assert queries.failures(cluster.engine, "day") == []


def test_user_calibration_data_is_fetched_from_the_store(cluster, store, convert, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8, 3), np.float32))
    calibration = Calibration(kind=CalibrationKind.ARRAYS, samples=2, name="x.npy")
    pack(calibration, tmp_path / "x.npy", tmp_path / "packed")
    calibration = replace(calibration, path=store.put(tmp_path / "packed", ".zip"))
    wanted = {"precisions": (Precision.INT8,), "calibration": calibration}

    assert convert(cluster.submit("tiny", name="night", **wanted).id) is Outcome.DONE
    (artifact,) = cluster.rows("SELECT precision, calibration FROM artifact")
    assert artifact["precision"] == "int8", "fp32, which nobody asked for, is made and not kept"
    assert artifact["calibration"]["provenance"] == "arrays of x.npy"

    other = cluster.submit("other", name="day", **wanted).id
    store.discard(calibration.path)
    assert convert(other) is Outcome.FAILED
    waiting = cluster.conversion(other)
    assert (waiting["state"], waiting["failure_class"]) == ("queued", "infrastructure")
    assert (
        "calibration data x.npy" in waiting["reason"] and "submit the same request again" in waiting["reason"]
    )


def test_calibration_is_part_of_the_cache_key_for_int8_only():
    other = replace(CALIBRATED, seed=1)
    for precision in FOUR:
        keys = {cache_key("a" * 64, precision, calibration) for calibration in (CALIBRATED, other, None)}
        assert len(keys) == (3 if precision is Precision.INT8 else 1)
    ios = {cache_key("a" * 64, Precision.INT8, CALIBRATED, io) for io in Int8Io}
    assert len(ios) == 2


def test_running_conversion_marks_progress(cluster, convert):
    signs = []
    assert convert(cluster.submit("tiny").id, mark_progress=lambda: signs.append(1)) is Outcome.DONE
    assert len(signs) >= 2, "one before the child starts, the others while it runs"
