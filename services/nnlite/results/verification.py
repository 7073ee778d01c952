"""Verifies stored measurements: rows against their manifest, their report and the files of the store.

What follows from raw samples is derived by the benchmark worker's code; `nnlite.diagnostics.verify` asks it.
"""

import math
import re
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import BaseModel, ValidationError
from sqlalchemy import Engine, text

from nnlite.artifacts.store import OUTPUT_SUFFIX, ArtifactGoneError, ArtifactStore, content_path
from nnlite.db.rows import row_id
from nnlite.errors import NnliteError, did_you_mean
from nnlite.reports.differences import Difference, differences
from nnlite.reports.schema import MeasurementReport
from nnlite.results.manifest import COLUMNS, manifest_text, measured, text_hash, whole_report
from nnlite.results.reading import campaign_names
from nnlite.results.recording import reported_columns

Row = Mapping[str, Any]

#: Rows that are fetched at a time: a row has up to 100,000 samples.
_BATCH: Final = 20
#: Fewest hexadecimal digits of an id that name a row.
_MIN_PREFIX: Final = 6
#: Columns with lists of 64-bit integers.
_NUMBERS: Final = frozenset({"samples_ns", "canaries_ns", "slice_runs", "slice_first_ns"})
_PREFIX: Final = re.compile(rf"[0-9a-f][0-9a-f-]{{{_MIN_PREFIX - 1},35}}")


class UnknownRowError(NnliteError):
    """No row, or more than one, has an id that begins as asked."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which measurements are verified; nothing: all."""

    campaign: str | None = None
    measurement: uuid.UUID | None = None
    benchmark: uuid.UUID | None = None


def selected(engine: Engine, target: str | None) -> Selection:
    """Return the measurements that `target` names: a campaign, or the id of a benchmark or measurement.

    An id may be abbreviated to its first six digits or more.

    Raises:
        UnknownRowError: nothing has this name, or several rows have an id that begins so.
    """
    if target is None:
        return Selection()
    with engine.connect() as connection:
        if connection.scalar(text("SELECT count(*) FROM campaign WHERE name = :name"), {"name": target}):
            return Selection(campaign=target)
        found: Sequence[Any] = ()
        if is_id(target):
            found = connection.execute(_WITH_PREFIX, {"prefix": f"{target.lower()}%"}).all()
        names = campaign_names(connection)
    if not found:
        known = f"the newest campaigns are {', '.join(names[:5])}" if names else "there is no campaign yet"
        hint = did_you_mean(target, names) or f"; {known}"
        raise UnknownRowError(
            f"{target!r} is neither a campaign nor the id of a benchmark or measurement (its first "
            f"{_MIN_PREFIX} digits or more); `nnlite verify --json` lists ids{hint}"
        )
    if len(found) > 1:
        ids = ", ".join(f"{row.id} ({row.kind})" for row in found)
        raise UnknownRowError(f"several ids begin with {target}: {ids}, ...; write more digits")
    return Selection(**{found[0].kind: found[0].id})


def is_id(target: str) -> bool:
    """Whether `target` is written as the id of a row, or as its beginning."""
    return _PREFIX.fullmatch(target.lower()) is not None


def rows_to_verify(engine: Engine, selection: Selection) -> Iterator[Row]:
    """Yield the rows of measurements with all that a manifest is built from, by campaign and model."""
    parameters = {
        "campaign": selection.campaign, "measurement": selection.measurement, "benchmark": selection.benchmark
    }  # fmt: skip
    with engine.connect().execution_options(yield_per=_BATCH) as connection:
        for row in connection.execute(_ROWS, parameters).mappings():
            yield {name: value if name in _NUMBERS else _writable(value) for name, value in row.items()}


def _writable(value: Any) -> Any:
    """Return a value of JSON with floats for integers beyond 64 bits, which no report of ours has."""
    if isinstance(value, dict):
        return {name: _writable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_writable(item) for item in value]
    if isinstance(value, int) and value.bit_length() > 63:
        return float(value) if value.bit_length() <= sys.float_info.max_exp - 1 else math.inf
    return value


def digests(engine: Engine) -> dict[str, str | None]:
    """Return the digest of every campaign by name; None: it has no manifest."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT campaign, digest FROM campaign_digest"))
        return {row.campaign: row.digest for row in rows}


def manifest_version(row: Row) -> int | None:
    """Return the version of a row's manifest; None: the text is no manifest of any version."""
    stored = _loaded(row["manifest"])
    version = stored.get("version") if isinstance(stored, dict) else None
    return version if isinstance(version, int) and version > 0 else None


def manifest_differences(row: Row) -> list[Difference]:
    """Return what differs between the manifest and the rows that it was built from."""
    built = manifest_text(row)
    if built == row["manifest"]:
        return []
    found = differences(_loaded(row["manifest"]), orjson.loads(built), "manifest")
    # Also a float that differs by less than is compared, or a white space, makes another hash.
    hashes = Difference(field="manifest", stored=text_hash(row["manifest"]), derived=text_hash(built))
    return list(found) or [hashes]


def _loaded(manifest: str) -> Any:
    try:
        return orjson.loads(manifest)
    except orjson.JSONDecodeError:
        return None


class _OutputTensor(BaseModel):
    step: float | None = None


class _Outputs(BaseModel):
    """The column `outputs` of an artifact, as far as it is used here."""

    tensors: list[_OutputTensor]


def unreadable_parts(row: Row) -> tuple[Difference, ...]:
    """Return the parts of a row that are not what they should be at all, so that nothing can be compared."""
    found = []
    for field, read in (
        ("report", lambda: MeasurementReport.model_validate_json(whole_report(row))),
        ("artifact.outputs", lambda: _Outputs.model_validate(row["artifact"]["outputs"])),
    ):
        try:
            read()
        except ValidationError as error:
            places = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            found.append(Difference.unreadable(field, "; ".join(places)))
    return tuple(found)


def report_differences(row: Row) -> Iterator[Difference]:
    """Yield the columns of a measurement that are not as the report of its benchmark says.

    Raises:
        ValidationError: it is no report; `unreadable_parts` says so before.
    """
    report = MeasurementReport.model_validate_json(whole_report(row))
    device = row["report"].get("device")
    device = device if isinstance(device, dict) else {}
    owner = {"device_id": row_id("device", device.get("name")), "kind": device.get("kind")}
    columns = orjson.loads(orjson.dumps(reported_columns(report) | owner, default=str))
    stored = orjson.loads(orjson.dumps({name: row[name] for name in columns}, default=str))
    yield from differences(stored, columns)


class StoredFiles:
    """The files of a store that rows refer to, each fetched and hashed once."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        #: By path in the store: the local file, or why there is none.
        self._known: dict[str, Path | str] = {}

    def differences(self, row: Row) -> Iterator[Difference]:
        """Yield the files of a measurement that are missing, or are not what the row says.

        Raises:
            StoreError: the store cannot be used.
        """
        artifact, measured_sha256 = row["artifact"], (row["report"] or {}).get("artifact_sha256")
        if measured_sha256 != artifact["sha256"]:
            yield Difference(
                field="report.artifact_sha256", stored=measured_sha256, derived=artifact["sha256"]
            )
        if artifact["sha256"] not in row["artifact_path"]:
            yield Difference(field="artifact", stored=row["artifact_path"], derived=artifact["sha256"])
        files = {row["artifact_path"]: "artifact"}
        files |= {path: f"reference_outputs[{n}]" for n, path in enumerate(artifact["reference_outputs"])}
        outputs = {path: f"outputs[{n}]" for n, path in enumerate(_output_paths(row)) if path is not None}
        for path, field in (outputs | files).items():
            found = self._found(path)
            if isinstance(found, str):
                yield Difference(field=field, stored=path, derived=found)

    def of_outputs(self, row: Row) -> dict[str, Any] | None:
        """Return the files from which a device's parity is derived, as the worker's `OutputFiles`.

        None: one of the host's is missing.
        """
        expected = [self._found(path) for path in row["artifact"]["reference_outputs"]]
        outputs = [None if path is None else self._found(path) for path in _output_paths(row)]
        if any(isinstance(file, str) for file in expected):
            return None
        return {
            "expected": expected,
            "outputs": [None if isinstance(file, str) else file for file in outputs],
            "steps": [tensor.step for tensor in _Outputs.model_validate(row["artifact"]["outputs"]).tensors],
        }

    def _found(self, path: str) -> Path | str:
        if path not in self._known:
            try:
                self._known[path] = self._store.fetch(path)
            except ArtifactGoneError as error:
                self._known[path] = str(error)
        return self._known[path]


def _output_paths(row: Row) -> list[str | None]:
    """Return where the device's outputs are stored; None: too large, and not the host's."""
    references = row["artifact"]["reference_outputs"]
    outputs = measured(row).get("outputs", ())
    paths = [(output, content_path(output["sha256"], OUTPUT_SUFFIX)) for output in outputs]
    return [path if output["kept"] or path in references else None for output, path in paths]


_WITH_PREFIX = text("""
SELECT 'benchmark' AS kind, id FROM benchmark WHERE id::text LIKE :prefix
UNION ALL SELECT 'measurement', id FROM measurement WHERE id::text LIKE :prefix
ORDER BY id LIMIT 3
""")

_ROWS = text(f"""
SELECT {COLUMNS}
WHERE (CAST(:campaign AS text) IS NULL OR c.name = :campaign)
  AND (CAST(:measurement AS uuid) IS NULL OR x.id = :measurement)
  AND (CAST(:benchmark AS uuid) IS NULL OR b.id = :benchmark)
ORDER BY c.name, m.name, a.precision, b.pool, b.run, x.backend, x.threads
""")
