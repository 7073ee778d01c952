"""Exports results to NN-GPT's `edge_tracker.json`: selects models and measurements, explains missing ones."""

import statistics
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, text

from nnlite.backends import CPU_BACKENDS
from nnlite.catalog.nngpt.source import NnGptSource, epoch_root, tag_of
from nnlite.exports.edge_queries import ARTIFACTS, MEASUREMENTS, MODELS, REFUSALS
from nnlite.exports.edge_tracker import FILE, Scored, edge_tracker
from nnlite.exports.lemur_tree import Choice, check_names
from nnlite.exports.nothing import nothing_written
from nnlite.exports.novelty import REFERENCE_THRESHOLD, NoveltyFilter
from nnlite.exports.writing import write_json
from nnlite.vocabulary import Backend, DeviceKind, Mode, ModelFormat, Precision, Stage, Verdict, WorkState

Row = RowMapping

#: How the reason of a model begins that NN-GPT rejected before its evaluation.
_REJECTED = "rejected: "

#: Defaults, preferred first: NN-GPT scores int8, and targets phones.
_PRECISIONS = (Precision.INT8, Precision.MIXED, Precision.FP32, Precision.FP16, Precision.DYNAMIC)
_KINDS = (DeviceKind.PHONE, DeviceKind.EMULATOR, DeviceKind.HOST)


@dataclass(frozen=True, kw_only=True)
class EdgeChoice:
    """Filter of measurements; an empty field selects the default."""

    campaigns: Sequence[str] = ()
    pool: str | None = None
    device: str | None = None
    backend: Backend = Backend.CPU
    precision: Precision | None = None
    #: Of the CPU; None: the fewest that were measured.
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class EdgeExported:
    """Summary of an export."""

    path: Path
    models: int
    measured: int
    #: Device or pool of the latencies; None: no measurement fits.
    latency_source: str | None
    best_model: str | None


def export_edge_tracker(
    engine: Engine,
    folder: Path,
    choice: EdgeChoice,
    *,
    param_limit: int,
    store_url: str,
    references: Mapping[str, str] | None = None,
    similarity_threshold: float = REFERENCE_THRESHOLD,
) -> EdgeExported:
    """Write the tracker of NN-GPT's models into `folder`, atomically.

    Of several models with one tag, from runs that used the same folders, the newest is scored.

    Args:
        references: code by name that generated models must not be copies of.
        similarity_threshold: from which similarity to one of them on they are.

    Raises:
        NnliteError: it cannot be written, a name is unknown, or there is no model of NN-GPT.
    """
    with engine.connect() as connection:
        rows = _models(connection, choice)
        models, prebuilt = _newest(rows, prebuilt=False), _newest(rows, prebuilt=True)
        identities = [row["identity"] for row in (*models.values(), *prebuilt.values())]
        measurements = _rows(connection, MEASUREMENTS, identities=identities, campaigns=choice.campaigns)
        artifacts = _rows(connection, ARTIFACTS, identities=identities)
        refusals = _rows(connection, REFUSALS, conversions=[row["id"] for row in models.values()])
    measured = _Measured(measurements, choice)
    conversions = _Conversions(
        artifacts={row["identity"]: row for row in artifacts if row["precision"] == measured.precision},
        refusals={
            row["conversion_id"]: row["reason"] for row in refusals if row["precision"] == measured.precision
        },
        store_url=store_url.rstrip("/"),
        novelty=NoveltyFilter(references or {}, similarity_threshold),
    )
    scored = [
        _scored(tag, models.get(tag) or prebuilt[tag], prebuilt.get(tag), measured, conversions)
        for tag in sorted({*models, *prebuilt})
    ]
    paths = (path[0] for row in rows if (path := row["request"].get("path")))
    tracker = edge_tracker(
        scored,
        param_limit=param_limit,
        epoch_root=epoch_root(Path(next(paths, "."))),
        timestamp=datetime.now(),
        similarity_threshold=similarity_threshold,
    )
    write_json(folder / FILE, tracker)
    return EdgeExported(
        path=folder / FILE,
        models=len(scored),
        measured=sum(model.latency_ms is not None for model in scored),
        latency_source=measured.source,
        best_model=tracker["best_model"],
    )


class _Measured:
    """The selected measurements and their device or pool."""

    def __init__(self, rows: Sequence[Row], choice: EdgeChoice) -> None:
        fitting = [
            row
            for row in rows
            if row["backend"] == choice.backend
            and choice.pool in (None, row["pool"])
            and choice.device in (None, row["device"])
            and choice.precision in (None, row["precision"])
            and (choice.backend not in CPU_BACKENDS or choice.threads in (None, row["threads"]))
        ]
        valid = [row for row in fitting if row["verdict"] == Verdict.VALID and row["median_ns"]]
        candidates = valid or fitting
        pool = choice.pool or _usual_pool(candidates)
        precisions = {row["precision"] for row in candidates if row["pool"] == pool}
        usual = next((precision for precision in _PRECISIONS if precision in precisions), _PRECISIONS[0])
        self.precision = choice.precision or usual
        wanted: dict[str, Any] = {"pool": pool, "precision": self.precision}
        # Medians of different numbers of threads are never mixed.
        fewest = min((row["threads"] for row in _with(candidates, wanted)), default=choice.threads or 1)
        if choice.backend in CPU_BACKENDS:
            wanted["threads"] = fewest
        self._valid, self._others = _with(valid, wanted), _with(fitting, wanted)
        on = choice.device or "+".join(sorted({row["device"] for row in self._valid}))
        # Other modes and numbers of threads than the usual ones are named.
        modes = sorted({row["mode"] for row in self._valid} - {Mode.STANDARD})
        several = [f"{fewest} threads"] if wanted.get("threads", 1) != 1 else []
        words = (f"{pool}/{on}", choice.backend, self.precision, *several, *modes)
        self.source = " ".join(words) if self._valid else None
        self._selection = " ".join(
            filter(None, (choice.device or pool, choice.backend, self.precision, *several))
        )

    def latency_ms(self, identity: str) -> float | None:
        """Return the median of the valid measurements of a model."""
        medians = [row["median_ns"] for row in self._valid if row["identity"] == identity]
        return statistics.median(medians) / 1e6 if medians else None

    def why_missing(self, identity: str) -> str:
        """Return why a model has no latency."""
        for row in self._others:
            if row["identity"] == identity:
                reasons = ", ".join(row["reasons"])
                return ": ".join(filter(None, (row["verdict"], reasons, row["noise_cause"], row["error"])))
        return f"no measurement on {self._selection}"


def _with(rows: Sequence[Row], wanted: Mapping[str, Any]) -> list[Row]:
    """Return the rows whose columns have the wanted values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def _usual_pool(rows: Sequence[Row]) -> str | None:
    """Return the pool of the preferred kind of device with most measured models; None without any."""
    for kind in _KINDS:
        if pools := Counter(str(row["pool"]) for row in rows if row["kind"] == kind):
            return min(pools, key=lambda name: (-pools[name], name))
    return None


@dataclass(frozen=True, kw_only=True)
class _Conversions:
    """Conversion results in the exported precision."""

    #: By identity.
    artifacts: Mapping[str, Row]
    #: By conversion: why it has no artifact.
    refusals: Mapping[uuid.UUID, str]
    store_url: str
    #: Has judged all earlier models.
    novelty: NoveltyFilter


def _scored(
    tag: tuple[int, int], row: Row, prebuilt: Row | None, measured: _Measured, conversions: _Conversions
) -> Scored:
    """Return the entry of one tag; if its own artifact has no latency, its pre-built file's is used."""
    identity = row["identity"]
    latency_ms = measured.latency_ms(identity)
    if latency_ms is None and prebuilt is not None and measured.latency_ms(prebuilt["identity"]) is not None:
        identity = prebuilt["identity"]
        latency_ms = measured.latency_ms(identity)
    artifact = conversions.artifacts.get(identity)
    error, tflite_error = (None, None) if latency_ms is not None else _why_not(row)
    if latency_ms is None and error is tflite_error is None:
        tflite_error = conversions.refusals.get(row["id"])
        error = None if tflite_error else row["benchmark_reason"] or measured.why_missing(identity)
    size = row["artifact_shape"] or row["input_shape"]
    name = f"A{tag[0]}_B{tag[1]}"
    rejection = (row["reason"] or "").removeprefix(_REJECTED)
    rejected = rejection != (row["reason"] or "")
    # Later models are no copies of a rejected one; of a pre-built file there is no code.
    judged = None if rejected or not row["code"] else conversions.novelty.judge(name, row["code"])
    return Scored(
        tag=name,
        dataset=row["dataset"],
        input_size=size[2] if size and len(size) == 4 else None,
        accuracy=row["accuracy"],
        parameters=row["parameters"],
        novel=judged.novel if judged else not rejected,
        max_similarity=judged.max_similarity if judged else None,
        similar_to=judged.similar_to if judged else None,
        rejection=rejection if rejected else None,
        tflite_path=f"{conversions.store_url}/{artifact['path']}" if artifact else None,
        parity_state=artifact["parity_state"] if artifact else None,
        tflite_error=tflite_error,
        latency_ms=latency_ms,
        latency_source=measured.source if latency_ms is not None else None,
        error=error,
    )


def _why_not(row: Row) -> tuple[str | None, str | None]:
    """Return why a model cannot be loaded, and why it has no artifact; None: it can, or it has one."""
    state, reason = row["state"], row["reason"]
    if state == WorkState.DONE:
        return None, None
    if state == WorkState.SKIPPED:
        return reason, None
    if state in {WorkState.QUEUED, WorkState.RUNNING}:
        return "not converted yet", None
    if row["stage"] == Stage.LOAD:
        return f"model load failed: {reason}", None
    return None, reason or f"conversion {state}"


def _models(connection: Connection, choice: EdgeChoice) -> list[Row]:
    names = Choice(
        campaigns=choice.campaigns,
        devices=[choice.device] if choice.device else (),
        pools=[choice.pool] if choice.pool else (),
    )
    check_names(connection, names)
    rows = _rows(connection, MODELS, source=NnGptSource.name, campaigns=choice.campaigns)
    if not rows:
        way_out = "models of NN-GPT come with nnlite submit --source nngpt --path FOLDER"
        raise nothing_written(connection, {"campaigns": choice.campaigns}, way_out, way_out)
    return rows


def _newest(rows: Sequence[Row], *, prebuilt: bool) -> dict[tuple[int, int], Row]:
    """Return the newest model of each tag, by epoch and number: pre-built ones, or those with code."""
    newest: dict[tuple[int, int], Row] = {}
    for row in rows:
        tag = tag_of(row["model"])
        if tag is not None and prebuilt == (row["model_format"] == ModelFormat.PREBUILT):
            epoch, model = tag[1:].split("_B")
            newest.setdefault((int(epoch), int(model)), row)
    return newest


def _rows(connection: Connection, statement: str, **parameters: Any) -> list[Row]:
    values = {
        name: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        for name, value in parameters.items()
    }
    return list(connection.execute(text(statement), values).mappings())
