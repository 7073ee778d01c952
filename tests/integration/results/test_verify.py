"""Measurements are verified: a clean campaign is as derived, and every later change is found and named."""

import hashlib
import uuid
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from integration.canned import finish_benchmark, finish_conversion, measurement, refusal, stored_canary
from integration.conftest import Cluster
from integration.results.test_profiles import PROFILE
from nnlite.artifacts.store import ArtifactStore
from nnlite.diagnostics.verify import Outcome, Verified, verify
from nnlite.results.manifest import text_hash
from nnlite.results.verification import Selection, UnknownRowError, digests, selected
from nnlite_benchmark.protocol import canary
from unit.benchmark.test_derivation import REPORTS


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")


@pytest.fixture
def measure(cluster: Cluster, store: ArtifactStore) -> Callable[..., None]:
    """Measure one model of the campaign `night` for each report, by name."""

    def make(**reports):
        campaign = cluster.submit(*reports, name="night", pools=("phones",))
        rows = cluster.rows(
            "SELECT v.id, m.name FROM conversion v JOIN model m ON m.id = v.model_id WHERE campaign_id = :id",
            id=campaign.id,
        )
        for row in rows:
            # A file of its own for each model, so that one can be damaged.
            file = store_folder(store) / f"{row['name']}.tflite"
            file.write_bytes(canary.MODEL_FILE.read_bytes() + row["name"].encode())
            (message,) = finish_conversion(cluster, row["id"], **stored_canary(store, file))
            finish_benchmark(cluster, message.row_id, reports[row["name"]])

    return make


def store_folder(store: ArtifactStore) -> Path:
    folder = Path(store.url)
    folder.mkdir(exist_ok=True)
    return folder


def verified(cluster: Cluster, store: ArtifactStore, **selection: object) -> dict[str, Verified]:
    return {row.model: row for row in verify(cluster.engine, store, Selection(**selection))}


def change(cluster: Cluster, model: str, table: str, what: str) -> None:
    """Change a row of a model, as nobody should."""
    cluster.change(
        f"UPDATE {table} t SET {what} FROM benchmark b JOIN conversion v ON v.id = b.conversion_id "
        "JOIN model m ON m.id = v.model_id, measurement x "
        f"WHERE m.name = :model AND x.benchmark_id = b.id AND t.id = {_KEYS[table]}",
        model=model,
    )


_KEYS = {"measurement": "x.id", "benchmark": "b.id", "artifact": "b.artifact_id", "model": "m.id"}


def in_report(path: str, value: str) -> str:
    return f"report = jsonb_set(t.report, '{{measurements,0,{path}}}', '{value}')"


#: For each model: what is changed in which table, and the fields that are named.
CHANGES = {
    "sample": ("measurement", "samples_ns[3] = 999", {"manifest.samples.sha256", "latency.min_ns"}),
    "median": ("measurement", "median_ns = 7", {"median_ns"}),
    "withheld": ("measurement", "median_ns = 7", {"median_ns"}),
    "verdict": ("measurement", "verdict = 'invalid'", {"verdict"}),
    "setting": ("benchmark", in_report("bounds,max_samples", "7"), {"manifest.report.bounds.max_samples"}),
    "reported": (
        "benchmark",
        in_report("latency,median_ns", "7"),
        {"median_ns", "manifest.report.latency.median_ns", "latency.median_ns"},
    ),
    "device": ("benchmark", "report = jsonb_set(t.report, '{device,os_version}', '\"12\"')",
               {"manifest.device.os_version"}),
    "parity": ("artifact", "parity = '{\"relative\": 0}'", {"manifest.artifact.parity.relative"}),
    "converter": ("artifact", "converter = 'other'", {"manifest.artifact.converter"}),
    "weights": ("model", "weights = 'other'", {"manifest.model.weights"}),
    "gate": ("measurement", "canaries_ns[1] = 1000", {"manifest.slices_sha256", "gating.slow_share"}),
    "manifest": ("measurement", "manifest = t.manifest || ' '", {"manifest"}),
    "garbage": ("measurement", "manifest = '[]'", {"manifest.version"}),
    "duration": (
        "benchmark",
        "report = jsonb_set(t.report, '{duration}', '7')",
        {"manifest.benchmark.duration"},
    ),
    "threads": ("benchmark", "report = t.report #- '{measurements,0,threads}'", {"report"}),
    "output": (
        "benchmark",
        in_report("outputs", '[{"dtype": "f", "shape": [], "sha256": null}]'),
        {"report"},
    ),
    "tensors": ("artifact", "outputs = '{\"tensors\": 7}'", {"artifact.outputs"}),
    "unlocated": ("artifact", "path = ''", {"artifact"}),
    "huge": ("artifact", "parity = '{\"relative\": 1e300}'", {"manifest.artifact.parity.relative"}),
    "endless": ("benchmark", in_report("bounds,max_samples", "1e999"), {"report"}),
    "emptied": ("benchmark", "report = '[]'", {"report"}),
    "damaged": ("measurement", "runs = t.runs", {"artifact"}),
}  # fmt: skip


def test_every_change_is_found_and_named_and_nothing_else(cluster, store, measure):
    reports = dict.fromkeys(CHANGES, REPORTS["valid"])
    reports |= {"gate": REPORTS["gated"], "withheld": REPORTS["npu without delegate"]}
    measure(**reports, untouched=REPORTS["valid"])
    digest = digests(cluster.engine)["night"]
    for model, (table, what, _) in CHANGES.items():
        change(cluster, model, table, what)
    (path,) = cluster.rows(
        "SELECT a.path FROM artifact a JOIN model m ON m.identity = a.identity WHERE m.name = 'damaged'"
    )
    (store_folder(store) / path["path"]).write_bytes(b"damaged")
    rows = verified(cluster, store)
    found = {model: {each.field for each in row.differences} for model, row in rows.items()}
    for model, (_, _, expected) in CHANGES.items():
        assert expected <= found.pop(model), model
        assert rows[model].outcome is Outcome.DIFFERENT
    assert found == {"untouched": set()}
    (median,) = rows["median"].differences
    assert (median.stored, median.derived) == (7, REPORTS["valid"].latency.median_ns)
    assert digests(cluster.engine)["night"] != digest, "a manifest was changed"


def test_a_changed_time_of_an_operator_is_found(cluster, store, measure):
    measure(layers=REPORTS["valid"].model_copy(update={"profile": PROFILE}))
    assert verified(cluster, store)["layers"].outcome is Outcome.VERIFIED

    cluster.change("UPDATE operator_time SET time_ns = time_ns + 1 WHERE index = 2")

    (difference,) = verified(cluster, store)["layers"].differences
    assert difference.field == "manifest.operators_sha256"


def test_a_clean_campaign_of_every_kind_is_verified(cluster, store, measure):
    names = {name.replace(" ", "_"): report for name, report in REPORTS.items()}
    measure(**names)
    rows = verified(cluster, store)
    assert {row.outcome for row in rows.values()} == {Outcome.VERIFIED}
    assert [*rows] == sorted(names)
    assert {name for name, row in rows.items() if row.notes} == {
        "refused", "too_few_cores", "npu_without_delegate", "thinned", "gated_and_thinned",
    }  # fmt: skip


def test_the_digest_of_a_campaign_is_that_of_its_manifests(cluster, store, measure):
    measure(one=REPORTS["valid"], two=REPORTS["noisy"])
    manifests = [row["manifest"] for row in cluster.rows("SELECT manifest FROM measurement")]
    hashes = "".join(sorted(map(text_hash, manifests)))
    assert digests(cluster.engine) == {"night": hashlib.sha256(hashes.encode()).hexdigest()}
    assert {row.sha256 for row in verified(cluster, store).values()} == set(map(text_hash, manifests))
    read = [orjson.loads(manifest) for manifest in manifests]
    assert {one["samples"]["count"] for one in read} == {700, 600}
    assert {one["device"]["name"] for one in read} == {"lab-phone"}
    assert [one["artifact"]["rewrites"] for one in read] == [["high_rank_linear"]] * 2


def test_measurements_of_earlier_releases_have_no_manifest_and_no_error(cluster, store, measure):
    measure(one=measurement())
    cluster.change("UPDATE measurement SET manifest = NULL")
    (row,) = verified(cluster, store).values()
    assert (row.outcome, row.sha256, row.differences) == (Outcome.NO_MANIFEST, None, ())
    assert digests(cluster.engine) == {"night": None}


def test_rows_are_named_by_the_beginning_of_an_id(cluster, store, measure):
    measure(one=REPORTS["valid"], two=refusal())
    (first, second) = cluster.rows("SELECT id, benchmark_id FROM measurement ORDER BY id")
    engine = cluster.engine
    assert selected(engine, "night") == Selection(campaign="night")
    assert selected(engine, str(first["id"])[:8]) == Selection(measurement=first["id"])
    assert selected(engine, str(second["benchmark_id"])) == Selection(benchmark=second["benchmark_id"])
    assert len(verified(cluster, store, measurement=first["id"])) == 1
    for unknown in ("evening", str(uuid.uuid4()), str(first["id"])[:3]):
        with pytest.raises(UnknownRowError, match=r"neither a campaign .* night"):
            selected(engine, unknown)
