"""Manifests of measurements: one canonical JSON text that names everything a result came from.

A manifest has the hashes of code and weights, converter and rewrites, the artifact and its parity, the
device, the report with protocol settings, canaries, statistics and verdict, and the hashes of raw samples and
of the times of operators. It is built from rows alone and written in the transaction that stores them, and
`nnlite verify` finds what was changed in any of them later.

Canonical JSON: UTF-8, no white space, keys sorted by code point, no fields without a value (null), floats in
their shortest form (1e-7, 1e+22), no negative zero, integers beyond 2^53 as floats. The hash of a
measurement is the SHA-256 of that text. The digest of a campaign (view `campaign_digest`) is the SHA-256 of
the hexadecimal hashes of its measurements, sorted, without a separator.
"""

import hashlib
import struct
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import Connection, text

from nnlite.catalog.model import canonical_json

#: Of the manifest's format and of the protocol by which results are derived: raised when either changes.
VERSION: Final = 2
#: Of a benchmark's report, that have places of their own in a manifest.
_PARTS: Final = frozenset({"device", "measurements"})
_MAX_INTEGER: Final = 2**53

#: Columns from which a manifest is built, and the joins that they come from.
COLUMNS: Final = """
x.*, b.report, b.pool, b.run, c.name AS campaign, m.name AS model_name,
jsonb_build_object(
    'source', m.source, 'name', m.name, 'identity', m.identity, 'code_sha256', m.code_sha256,
    'transform_sha256', m.transform_sha256, 'weights', m.weights
) AS model,
jsonb_build_object(
    'sha256', a.sha256, 'precision', a.precision, 'converter', a.converter, 'rewrites', a.rewrites,
    'inputs', a.inputs, 'outputs', a.outputs, 'reference_outputs', a.reference_outputs, 'seed', a.seed,
    'parity_state', a.parity_state, 'parity', a.parity, 'state_dict_sha256', a.state_dict_sha256,
    'calibration', a.calibration
) AS artifact, a.path AS artifact_path, (
    SELECT jsonb_agg(to_jsonb(o) - 'measurement_id' ORDER BY o.index)
    FROM operator_time o WHERE o.measurement_id = x.id
) AS operators
FROM measurement x JOIN benchmark b ON b.id = x.benchmark_id JOIN campaign c ON c.id = b.campaign_id
JOIN conversion v ON v.id = b.conversion_id JOIN model m ON m.id = v.model_id
JOIN artifact a ON a.id = b.artifact_id
"""


def store_manifests(connection: Connection, benchmark: uuid.UUID) -> None:
    """Write the manifests of a benchmark's measurements, in the transaction that has just written them."""
    rows = connection.execute(_OF_BENCHMARK, {"benchmark": benchmark}).mappings()
    manifests = [{"id": row["id"], "manifest": manifest_text(dict(row))} for row in rows]
    connection.execute(_STORE, manifests)


def manifest_text(row: Mapping[str, Any]) -> str:
    """Return the manifest of a measurement as canonical JSON."""
    report: Mapping[str, Any] = row["report"] or {}
    slices = [row[name] or () for name in ("canaries_ns", "slice_runs", "slice_first_ns")]
    manifest = {
        "version": VERSION,
        "measurement": str(row["id"]),
        "model": row["model"],
        "artifact": row["artifact"],
        "device": report.get("device"),
        "benchmark": {name: value for name, value in report.items() if name not in _PARTS}
        | {name: row[name] for name in ("pool", "run", "kind", "attempt")},
        "report": measured(row),
        "samples": {"count": len(row["samples_ns"]), "sha256": integers_sha256(row["samples_ns"])},
        "operators_sha256": row["operators"] and text_hash(_canonical_text(row["operators"])),
        "slices_sha256": None if row["slice_runs"] is None else integers_sha256(*slices),
    }
    return _canonical_text(manifest)


def measured(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a benchmark's stored report has of one measurement; empty: nothing.

    The report may be anything: it is also read in order to find what was changed in it.
    """
    every = row["report"].get("measurements") if isinstance(row["report"], dict) else None
    key = (row["backend"], row["threads"])
    reports = (each for each in every if isinstance(each, dict)) if isinstance(every, list) else iter(())
    return next((report for report in reports if (report.get("backend"), report.get("threads")) == key), {})


def whole_report(row: Mapping[str, Any]) -> bytes:
    """Return the `MeasurementReport` of a measurement as JSON: the stored part, with samples and slices."""
    report = measured(row) | {"samples_ns": row["samples_ns"]}
    if isinstance(report.get("gating"), dict):
        slices = {name: row[name] for name in ("canaries_ns", "slice_runs", "slice_first_ns")}
        report["gating"] = report["gating"] | slices
    return orjson.dumps(report)


def integers_sha256(*lists: Sequence[int]) -> str:
    """Return the SHA-256 of lists of integers, each as its length and its elements, 64-bit little-endian."""
    digest = hashlib.sha256()
    for integers in lists:
        digest.update(struct.pack(f"<q{len(integers)}q", len(integers), *integers))
    return digest.hexdigest()


def _canonical_text(value: Any) -> str:
    return canonical_json(_canonical(value)).decode()


def text_hash(manifest: str) -> str:
    """Return the SHA-256 of a manifest's text: the hash of the measurement."""
    return hashlib.sha256(manifest.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Return `value` by the rules above, which make JSON equal whether it went through Postgres or not."""
    if isinstance(value, Mapping):
        return {name: _canonical(item) for name, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float):
        return value + 0.0
    if isinstance(value, int) and abs(value) > _MAX_INTEGER:
        return float(value)
    return value


_OF_BENCHMARK = text(f"SELECT {COLUMNS} WHERE b.id = :benchmark")

_STORE = text("UPDATE measurement SET manifest = :manifest WHERE id = :id")
