"""Models from files, one of each format, are converted and measured in one campaign on this machine."""

import shutil
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from integration.conftest import Cluster, living_owner
from nnlite.artifacts.store import open_store
from nnlite.campaigns.request import Request
from nnlite.campaigns.submit import Submitted, submit
from nnlite.catalog.files.source import FilesSource
from nnlite.host.cores import choose_cores
from nnlite.results import queries
from nnlite.results.devices import record_ready
from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import WorkKind
from nnlite.worker.attempt import Outcome, WorkerContext, run_attempt
from nnlite_benchmark.benchmarker import Benchmarker
from nnlite_benchmark.host.device import HostDevice
from nnlite_benchmark.protocol import canary
from nnlite_conversion.converter import Converter
from unit.conversion.networks import TWO, exported

# A noisy machine must not fail these tests: spread, drift and canary are never judged here.
QUICK = MeasurementSettings(
    warmup_min_runs=1, warmup_min_s=0, warmup_agreeing_runs=0, min_runs=5, min_s=0, canary_runs=4,
    max_mad_ratio=1e9, max_slice_drift=1e9, max_canary_drift=1e9, gate_limit=1e9, gate_learn_s=0,
)  # fmt: skip


class Lab:
    """A cluster whose two workers are called by hand, one attempt at a time."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.settings = Settings(home=cluster.settings.home, measurement=QUICK, _env_file=None)
        self.context = WorkerContext(
            engine=cluster.engine,
            broker=cluster.broker,
            owner=living_owner(),
            settings=self.settings,
            stopping=lambda: False,
        )
        self.store = open_store(self.settings)

    def submit(self, *paths: Path, **options: Any) -> Submitted:
        source = FilesSource(self.settings, path=paths, **options)
        return submit(
            self.cluster.engine,
            self.cluster.broker,
            Request(source="files", path=tuple(map(str, paths))),
            models=source.models(),
            source=source,
            settings=self.settings,
            name="mine",
            priority=5,
        )

    def convert(self) -> dict[str, Outcome]:
        """Convert every model; return what became of each."""
        converter = Converter(context=lambda: self.context, store=self.store, cores=choose_cores(""))
        rows = self.cluster.rows(
            "SELECT v.id, m.name FROM conversion v JOIN model m ON m.id = v.model_id WHERE v.state = 'queued'"
        )
        return {
            row["name"]: run_attempt(self.context, WorkKind.CONVERSION, row["id"], converter.run, 120)
            for row in rows
        }

    def measure(self) -> None:
        device = HostDevice(self.settings)
        record_ready(self.cluster.engine, device.context(), "benchmark@here")
        benchmarker = Benchmarker(
            context=self.context, store=self.store, device=device, stop=threading.Event()
        )
        try:
            for row in self.cluster.rows("SELECT id FROM benchmark"):
                done = run_attempt(self.context, WorkKind.BENCHMARK, row["id"], benchmarker.run, 120)
                assert done is Outcome.DONE
        finally:
            device.close()

    def artifacts(self) -> dict[str, dict[str, Any]]:
        rows = self.cluster.rows(
            "SELECT m.name, a.* FROM artifact a JOIN model m ON m.identity = a.identity ORDER BY m.name"
        )
        return {row["name"]: row for row in rows}


@pytest.fixture
def lab(cluster: Cluster) -> Lab:
    return Lab(cluster)


def test_one_model_of_each_format_is_converted_and_measured(lab, tmp_path):
    nets = tmp_path / "nets"
    nets.mkdir()
    namespace: dict[str, Any] = {}
    exec(TWO, namespace)
    torch.manual_seed(1)
    network = namespace["Two"](4).eval()
    (nets / "two.py").write_text(TWO)
    (nets / "two.toml").write_text(
        'arguments = {width = 4}\ninputs = ["1x3x8x8", "1x5:int64"]\naccuracy = 0.5'
    )
    save_file(network.state_dict(), nets / "two.safetensors")
    exported(nets / "program.pt2", network)
    shutil.copy(canary.MODEL_FILE, nets / "ready.tflite")

    assert lab.submit(nets).models == 3
    shutil.rmtree(nets)
    assert set(lab.convert().values()) == {Outcome.DONE}
    made = lab.artifacts()
    lab.measure()

    assert list(made) == ["program.pt2", "ready.tflite", "two.py"]
    code, program, ready = made["two.py"], made["program.pt2"], made["ready.tflite"]
    assert [tensor["shape"] for tensor in code["inputs"]["tensors"]] == [[1, 8, 8, 3], [1, 5]]
    assert [tensor["shape"] for tensor in code["outputs"]["tensors"]] == [[1, 4], [1, 4]]
    assert code["rewrites"] == program["rewrites"] == ["adaptive_max_pool2d"]
    assert code["operators"] == program["operators"]
    # Named by their content: the same outputs from the code with its weights and from the program.
    assert code["reference_outputs"] == program["reference_outputs"]
    assert len(set(code["reference_outputs"])) == 2
    assert (code["parity_state"], program["parity_state"]) == ("ok", "ok")

    assert (ready["parity_state"], ready["parity"], ready["precision"]) == ("unknown", None, "fp32")
    assert ready["sha256"] == canary.MODEL_SHA256
    assert len(ready["reference_outputs"]) == 1
    measured = queries.latencies(lab.cluster.engine, "mine")
    assert [(row["model"], row["verdict"]) for row in measured] == [(name, "valid") for name in made]
    assert not any("artifact_parity" in row["reasons"] for row in measured)
    reports = queries.reports(lab.cluster.engine, "mine")
    assert all(report["measurements"][0]["parity"]["ok"] for report in reports)


def test_invalid_tflite_file_fails_finally_with_a_reason(lab, tmp_path):
    (tmp_path / "hostile.tflite").write_bytes(struct.pack("<I", 24) + b"TFL3" + bytes(64))
    whole = canary.MODEL_FILE.read_bytes()
    (tmp_path / "truncated.tflite").write_bytes(whole[: len(whole) // 2])
    lab.submit(tmp_path / "hostile.tflite", tmp_path / "truncated.tflite")
    lab.convert()
    failures = {row["model"]: row for row in queries.failures(lab.cluster.engine, "mine")}
    classes = {model: row["class"] for model, row in failures.items()}
    assert classes == {"hostile.tflite": "runtime", "truncated.tflite": "model"}


def test_prebuilt_file_is_cached_whatever_precisions_are_requested(lab, tmp_path):
    shutil.copy(canary.MODEL_FILE, tmp_path / "ready.tflite")
    lab.submit(tmp_path / "ready.tflite")
    lab.convert()
    lab.cluster.change("UPDATE conversion SET state = 'queued', available_at = now()")
    lab.cluster.change("UPDATE campaign SET precisions = '{fp32,int8}'")
    assert list(lab.convert().values()) == [Outcome.DONE]
    assert lab.cluster.rows("SELECT cached FROM conversion") == [{"cached": True}]
    assert lab.cluster.rows("SELECT count(*) AS n FROM benchmark") == [{"n": 1}]
