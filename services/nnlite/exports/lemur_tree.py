"""Exports results as nn-dataset's tree of mobile results.

`ROOT/ab/nn/stat/run/tflite/<precision>/<task>_<dataset>_<metric>_<model>/<system>_<device>.json`, or with the
phone's model in place of the device, as nn-dataset's own results are named, and per precision
`all_models.json`, where its importer looks accuracy and transform up
(https://github.com/ABrain-One/nn-dataset, ab/nn/util/db/Write.py, json_run_tflite_to_db). Files are replaced
whole; none is ever removed.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text

from nnlite.artifacts.store import file_name
from nnlite.backends import BACKENDS, CPU_BACKENDS
from nnlite.catalog.files.source import FilesSource
from nnlite.errors import NnliteError, did_you_mean
from nnlite.exports.lemur_record import chosen_measurements, lemur_record
from nnlite.exports.nothing import nothing_written
from nnlite.exports.writing import write_json
from nnlite.vocabulary import Backend, DeviceKind, Precision, Verdict

#: Path of the mobile results in a checkout.
TREE = Path("ab", "nn", "stat", "run", "tflite")
CATALOGUE = "all_models.json"
#: nn-dataset's metadata of artifacts: accuracy belongs to weights as they were trained.
_AS_TRAINED = (Precision.FP32,)
_ROWS_AT_A_TIME = 50


class TreeLayout(StrEnum):
    """What a result's file is named by."""

    #: nnlite's name of the device: results of several phones of one model stay apart.
    DEVICE = "device"
    #: The phone's model, `android_<model>.json`, by which upstream's scripts join results of devices.
    UPSTREAM = "upstream"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Filter of results; an empty field does not restrict."""

    campaigns: Sequence[str] = ()
    devices: Sequence[str] = ()
    pools: Sequence[str] = ()
    #: Empty: emulators and phones; a named device may be of any kind.
    kinds: Sequence[DeviceKind] = ()
    #: Of the CPU's measurements; None: those with the fewest threads of each benchmark.
    threads: int | None = None
    #: The backend that the fields of the CPU are of, where it was measured.
    cpu: Backend = Backend.CPU
    #: Results whose best verdict is none of these are not written; empty: all are.
    verdicts: Sequence[Verdict] = ()
    layout: TreeLayout = TreeLayout.DEVICE

    @property
    def names(self) -> dict[str, list[str]]:
        """The names that are chosen, by what they are of."""
        named = {"campaigns": self.campaigns, "devices": self.devices, "pools": self.pools}
        return {kind: list(names) for kind, names in named.items()}


@dataclass(kw_only=True)
class Exported:
    """Summary of an export."""

    root: Path
    written: int = 0
    #: Of `written`: without a valid measurement.
    not_valid: int = 0
    #: Results skipped for a better or newer one of the same model, precision and device.
    superseded: int = 0
    #: Skipped measurements of hosts.
    hosts: int = 0
    #: Skipped results of models of files, which are none of LEMUR's.
    own: int = 0
    #: Selected benchmarks without a result (yet).
    without_result: int = 0
    #: Numbers of threads of the CPU's measurements that were written.
    threads: set[int] = field(default_factory=set)
    catalogues: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)


def export_lemur(
    engine: Engine, root: Path, choice: Choice, on_file: Callable[[int, int], None] = lambda done, total: None
) -> Exported:
    """Write the selected results below `root` and return a summary.

    Args:
        root: parent folder of `ab/`, such as a checkout of nn-dataset.
        on_file: called with the number of files written and of all.

    Raises:
        NnliteError: a file cannot be written, a name is unknown, or nothing is selected.
    """
    exported = Exported(root=root)
    parameters = choice.names | {
        "kinds": [str(kind) for kind in choice.kinds] or _usual_kinds(choice),
        "threads": choice.threads,
        # Other runtimes of hosts have no place in LEMUR's records.
        "backends": sorted(BACKENDS[DeviceKind.PHONE]),
        "verdicts": [str(verdict) for verdict in choice.verdicts],
        "by_model": choice.layout is TreeLayout.UPSTREAM,
        "plain": choice.cpu is Backend.CPU_PLAIN,
        "own": FilesSource.name,
    }
    with engine.connect() as connection:
        check_names(connection, choice)
        exported.without_result, exported.hosts, exported.own = connection.execute(_COUNTS, parameters).one()
        rows = connection.execution_options(yield_per=_ROWS_AT_A_TIME).execute(_CHOSEN, parameters)
        for row in rows.mappings():
            exported.superseded += row["alternatives"] - 1
            artifact = {
                "artifact_parity_state": row["parity_state"],
                "artifact_parity": row["parity"],
                "calibration": row["calibration"],
                **({"accuracy": row["report"]["accuracy"]} if row["report"].get("accuracy") else {}),
            }
            tensors = row["inputs"]["tensors"]
            record = lemur_record(
                row["model"],
                row["report"],
                tensors[0]["shape"] if tensors else (),
                row["campaign"],
                artifact,
                sizes=(row["original_bytes"], row["size_bytes"]),
                threads=choice.threads,
                cpu=choice.cpu,
            )
            measured = chosen_measurements(row["report"], choice.threads)
            exported.threads |= {measured[cpu]["threads"] for cpu in CPU_BACKENDS & measured.keys()}
            write_json(root / TREE / relative_path(row, choice.layout), record)
            exported.written += 1
            exported.not_valid += not record["valid"]
            _note_model(exported, row)
            on_file(exported.written, row["total"])
        if not exported.written:
            raise nothing_written(connection, choice.names, _way_out(exported))
    for precision, models in exported.catalogues.items():
        _write_catalogue(root / TREE / precision / CATALOGUE, models)
    return exported


def relative_path(row: Any, layout: TreeLayout = TreeLayout.DEVICE) -> Path:
    """Return a result's path in the tree: by precision, model and device, with safe names."""
    system = "linux" if row["kind"] == DeviceKind.HOST else "android"
    folder = "_".join(row[name] for name in ("task", "dataset", "metric", "model"))
    device = row["device"]
    if layout is TreeLayout.UPSTREAM:
        device = row["report"]["device_type"].replace(" ", "_")
    return Path(row["precision"], file_name(folder), f"{system}_{file_name(device)}.json")


def _way_out(exported: Exported) -> str:
    """Return what to do where nothing was selected."""
    if exported.hosts:
        return "--kind host writes those of hosts, of which nn-dataset's table has none"
    if exported.own:
        return "those of models of your own (--source files) are none of LEMUR's"
    return "--kind, --verdict and --threads choose others, nnlite results lists them"


def _usual_kinds(choice: Choice) -> list[str]:
    """Hosts are exported only on request: nn-dataset's table is one of Android devices."""
    return [str(kind) for kind in DeviceKind if choice.devices or kind is not DeviceKind.HOST]


def check_names(connection: Connection, choice: Choice) -> None:
    """Check that there are campaigns, devices and pools of the names that are chosen.

    Raises:
        NnliteError: a name is unknown; the message lists the known ones.
    """
    known = connection.execute(_KNOWN_NAMES).mappings().one()
    for kind, asked in choice.names.items():
        found: list[str] = known[kind] or []
        for name in asked:
            if name not in found:
                listed = f"; there are {', '.join(found)}" if found else "; there is none"
                close = did_you_mean(name, found)
                raise NnliteError(f"no {kind[:-1]} {name!r} has results to export{close or listed}")


def _note_model(exported: Exported, row: Any) -> None:
    """Add accuracy and transform; of two configurations with one name, of the more accurate one."""
    entry = {
        "accuracy": row["accuracy"] if row["precision"] in _AS_TRAINED else None,
        "transform": row["transform"],
    }
    models = exported.catalogues.setdefault(row["precision"], {})
    known = models.get(row["model"])
    if known is None or (entry["accuracy"] or 0) > (known["accuracy"] or 0):
        models[row["model"]] = entry


def _write_catalogue(path: Path, models: dict[str, dict[str, Any]]) -> None:
    """Add `models` to the file; existing entries stay."""
    try:
        known = json.loads(path.read_bytes()) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise NnliteError(f"cannot read {path}: {error}; repair it or move it away") from error
    if not isinstance(known, dict):
        raise NnliteError(f"{path} is not a JSON object; repair it or move it away")
    if any(name not in known for name in models):
        write_json(path, models | known)


_KNOWN_NAMES = text("""
SELECT (SELECT array_agg(name ORDER BY name) FROM campaign) AS campaigns,
       (SELECT array_agg(name ORDER BY name) FROM device) AS devices,
       (SELECT array_agg(DISTINCT pool ORDER BY pool) FROM benchmark) AS pools
""")

# A reproduction is a question about a result, not a result.
_WANTED = """
    b.purpose <> 'reproduce'
    AND (cardinality(CAST(:campaigns AS text[])) = 0 OR c.name = ANY(:campaigns))
    AND (cardinality(CAST(:pools AS text[])) = 0 OR b.pool = ANY(:pools))
"""

_COUNTS = text(f"""
SELECT count(*) FILTER (WHERE b.report IS NULL AND b.run = 1) AS without_result,
       count(*) FILTER (WHERE b.report->'device'->>'kind' = 'host' AND NOT 'host' = ANY(:kinds)) AS hosts,
       count(*) FILTER (WHERE b.report IS NOT NULL AND b.run = 1 AND EXISTS (
           SELECT FROM conversion v JOIN model m ON m.id = v.model_id
           WHERE v.id = b.conversion_id AND m.source = :own
       )) AS own
FROM benchmark b JOIN campaign c ON c.id = b.campaign_id
WHERE {_WANTED} AND cardinality(CAST(:devices AS text[])) = 0
""")  # noqa: S608

# The best result of each model, precision and device: by the verdicts of its backends, then that of a longer
# mode, then the newest.
_CHOSEN = text(f"""
WITH result AS (
    SELECT b.id, m.id AS model_id, a.precision, m.task, m.dataset, m.metric, m.name AS model,
           b.report->'device'->>'name' AS device,
           CASE WHEN :by_model THEN b.report->>'device_type' ELSE b.report->'device'->>'name' END AS named,
           b.report->'device'->>'kind' AS kind,
           x.valid, x.noisy, x.published, x.only_plain, b.finished_at,
           array_position(ARRAY['full', 'standard', 'quick'], c.mode) AS mode
    FROM benchmark b
    JOIN campaign c ON c.id = b.campaign_id
    JOIN artifact a ON a.id = b.artifact_id
    JOIN conversion v ON v.campaign_id = b.campaign_id AND v.identity = a.identity AND v.state <> 'skipped'
    JOIN model m ON m.id = v.model_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS measurements, count(*) FILTER (WHERE verdict = 'valid') AS valid,
               count(*) FILTER (WHERE verdict = 'noisy') AS noisy,
               count(*) FILTER (WHERE verdict <> 'invalid') AS published,
               count(*) FILTER (WHERE backend = 'cpu-plain') AS plain,
               bool_and(backend = 'cpu-plain') AS only_plain,
               array_agg(CAST(verdict AS text)) AS verdicts
        FROM (
            SELECT DISTINCT ON (backend) backend, verdict FROM measurement
            WHERE benchmark_id = b.id AND backend = ANY(:backends)
              AND (backend NOT IN ('cpu', 'cpu-plain') OR threads = coalesce(:threads, threads))
            ORDER BY backend, threads
        ) chosen
    ) x
    -- Models of files need not have a task, which the tree's folders begin with.
    WHERE b.report IS NOT NULL AND a.path LIKE '%.tflite' AND m.task <> '' AND m.source <> :own
        AND x.measurements > 0 AND (x.plain > 0 OR NOT :plain)
        AND (cardinality(CAST(:verdicts AS text[])) = 0 OR x.verdicts && CAST(:verdicts AS text[]))
        AND {_WANTED}
), wanted AS (
    SELECT *, count(*) OVER same AS alternatives,
           row_number() OVER (
               same ORDER BY only_plain AND NOT :plain, valid DESC, noisy DESC, published DESC, mode,
                             finished_at DESC, id
           ) AS rank
    FROM result
    WHERE kind = ANY(:kinds) AND (cardinality(CAST(:devices AS text[])) = 0 OR device = ANY(:devices))
    WINDOW same AS (PARTITION BY precision, task, dataset, metric, model, named)
)
SELECT w.precision, w.task, w.dataset, w.metric, w.model, w.device, w.kind, w.alternatives,
       count(*) OVER () AS total, m.accuracy, m.transform, a.inputs, a.parity_state, a.parity, a.calibration,
       a.size_bytes,
       (SELECT max(o.size_bytes) FROM artifact o
        WHERE o.identity = a.identity AND o.precision = 'fp32'
          AND o.path LIKE '%.tflite') AS original_bytes,
       c.name AS campaign, b.report
FROM wanted w
JOIN benchmark b ON b.id = w.id
JOIN campaign c ON c.id = b.campaign_id
JOIN artifact a ON a.id = b.artifact_id
JOIN model m ON m.id = w.model_id
WHERE w.rank = 1
ORDER BY w.precision, w.task, w.dataset, w.metric, w.model, w.device
""")  # noqa: S608
