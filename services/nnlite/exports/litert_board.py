"""Exports results in the format of LiteRT's public performance board.

`measurements.jsonl` keeps one line for each model file, runtime version, device and accelerator;
`board.json`, which the board's page reads, has the newest version of each. The format is that of
https://github.com/google-ai-edge/litert-samples (benchmark/driver: collect.py, build_board.py). Its own rows
are of LiteRT's program; ours say what measured them in `runner`, `binary`, `source` and `nnlite`.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import Engine

from nnlite.errors import NnliteError
from nnlite.exports.lemur_record import Json, chosen_measurements
from nnlite.exports.lemur_tree import Choice, check_names
from nnlite.exports.litert_board_row import board_row
from nnlite.exports.nothing import nothing_written
from nnlite.exports.writing import write_file, write_json
from nnlite.results.reading import rows_of
from nnlite.vocabulary import DeviceKind, Verdict

MEASUREMENTS: Final = "measurements.jsonl"
BOARD: Final = "board.json"
#: The board's name of each platform, by the kind of device: phones and emulators run Android.
_PLATFORMS: Final = {"android": "Android", "macos": "macOS", "ios": "iOS", "linux": "Linux"}


@dataclass(frozen=True, kw_only=True)
class BoardExported:
    """Summary of an export."""

    folder: Path
    #: Rows written, in place of earlier ones or new.
    rows: int
    #: Rows of both files, those of others included.
    measurements: int
    on_board: int


def export_litert_board(
    engine: Engine, folder: Path, choice: Choice, *, owner: str | None = None
) -> BoardExported:
    """Add the selected results to the files in `folder`, and return a summary.

    Args:
        folder: the board's `data` folder, or a new one. Rows of others stay; equal rows are replaced.
        choice: which results; without kinds, those of phones. Without verdicts, valid ones.
        owner: what stands before `/` in names of models; None: the model's source.

    Raises:
        NnliteError: a file cannot be read or written, a name is unknown, or nothing is selected.
    """
    kinds = [str(kind) for kind in choice.kinds or (() if choice.devices else (DeviceKind.PHONE,))]
    with engine.connect() as connection:
        check_names(connection, choice)
        found = rows_of(engine, _RESULTS, choice.names | {"kinds": kinds})
        verdicts = choice.verdicts or (Verdict.VALID,)
        chosen = [
            (measured["verdict"], board_row(result, backend, measured, owner))
            for result in found
            for backend, measured in chosen_measurements(result["report"], choice.threads).items()
            if measured["verdict"] in verdicts and measured["latency"] is not None
        ]
        if not chosen:
            asked = f"verdict {' or '.join(verdicts)}" + (f", kind {' or '.join(kinds)}" if kinds else "")
            way_out = f"asked for: {asked}; --verdict and --kind choose others"
            raise nothing_written(connection, choice.names, way_out)
    # Of equal rows the last stays: that with the best verdict, and of those the newest.
    chosen.sort(key=lambda each: -[*Verdict].index(each[0]))
    rows = {row["row_id"]: row for _, row in chosen}
    kept = _read(folder / MEASUREMENTS) | rows
    board = build_board(kept.values())
    lines = b"".join(orjson.dumps(row) + b"\n" for row in kept.values())
    write_file(folder / MEASUREMENTS, lines)
    write_json(folder / BOARD, board)
    return BoardExported(folder=folder, rows=len(rows), measurements=len(kept), on_board=board["row_count"])


def build_board(rows: Iterable[Json]) -> Json:
    """Return the board of measured rows: the newest version of each file, platform, device, accelerator."""
    newest: dict[tuple[Any, ...], Json] = {}
    for row in rows:
        key = tuple(row[name] for name in ("model", "file", "platform", "device_id", "accelerator"))
        if row.get("status") == "measured" and (key not in newest or _age(row) > _age(newest[key])):
            newest[key] = row
    order = {platform: place for place, platform in enumerate(_PLATFORMS)}
    for row in newest.values():
        order.setdefault(row["platform"], len(order))
    on_board = sorted(newest.values(), key=lambda row: _place(row, order))
    counts = Counter(row["platform"] for row in on_board)
    devices = {(order[row["platform"]], row["platform"], row["device_id"], row["device"]) for row in on_board}
    return {
        "generated_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "runtime": "+".join(sorted({row["runtime"] for row in on_board})),
        "runtime_versions": sorted({row["runtime_version"] for row in on_board}, key=_version),
        "row_count": len(on_board),
        "models": sorted({row["model"] for row in on_board}),
        "platforms": [
            {"id": platform, "name": _PLATFORMS.get(platform, platform), "rows": counts[platform]}
            for platform in sorted(counts, key=order.__getitem__)
        ],
        "devices": [
            {"id": device_id, "name": name, "platform": platform}
            for _, platform, device_id, name in sorted(devices)
        ],
        "rows": on_board,
    }


def _place(row: Json, order: Mapping[str, int]) -> tuple[Any, ...]:
    median_ms = row["latency_ms"]["median"]
    words = (row["task"], row["device"], row["accelerator"])
    return (order[row["platform"]], *words, float("inf") if median_ms is None else median_ms)


def _age(row: Json) -> tuple[Any, ...]:
    return _version(row["runtime_version"]), row.get("date") or ""


def _version(version: str) -> list[tuple[int, int, str]]:
    """Return a key by which 2.2.0 is before 2.10.0; parts that are no numbers come after those that are."""
    parts = str(version).split(".")
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _read(file: Path) -> dict[str, Json]:
    """Return the rows of an existing file by their ids; empty if there is none.

    Raises:
        NnliteError: it cannot be read, or a line is no row.
    """
    rows: dict[str, Json] = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise NnliteError(f"cannot read {file}: {error}; repair it or move it away") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            build_board([row])
            rows[row["row_id"]] = row
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NnliteError(
                f"{file}, line {number} is no row of the board: {error!r}; repair it or move the file away"
            ) from error
    return rows


_RESULTS = """
SELECT c.name AS campaign, m.source, m.name AS model, m.task, m.accuracy, a.precision, a.size_bytes, a.inputs,
       a.parity_state, b.report
FROM benchmark b
JOIN campaign c ON c.id = b.campaign_id
JOIN artifact a ON a.id = b.artifact_id
JOIN conversion v ON v.campaign_id = b.campaign_id AND v.identity = a.identity AND v.state <> 'skipped'
JOIN model m ON m.id = v.model_id
WHERE b.report IS NOT NULL AND b.purpose <> 'reproduce' AND a.path LIKE '%.tflite'
  AND (cardinality(CAST(:campaigns AS text[])) = 0 OR c.name = ANY(:campaigns))
  AND (cardinality(CAST(:pools AS text[])) = 0 OR b.pool = ANY(:pools))
  AND (cardinality(CAST(:devices AS text[])) = 0 OR b.report->'device'->>'name' = ANY(:devices))
  AND (cardinality(CAST(:kinds AS text[])) = 0 OR b.report->'device'->>'kind' = ANY(:kinds))
ORDER BY b.finished_at, b.id
"""
