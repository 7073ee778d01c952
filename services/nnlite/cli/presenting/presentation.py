"""Formats results for a terminal: milliseconds, megabytes, one line per measurement or failure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from nnlite.results.queries import Progress
from nnlite.results.reading import Row
from nnlite.vocabulary import Condition, EnergyMethod, Mode, Reason, RuntimeVerdict, Shape, WorkState

#: Always there; other columns only where their values differ.
_RESULT_COLUMNS = ("model", "parameters", "size", "parity", "median ms", "min ms", "p90 ms", "verdict")
#: Columns of results that a narrow terminal hides, the least important first; model, median and verdict
#: never do.
OPTIONAL = (
    "size", "acc@5", "parameters", "p90 ms", "top-1", "SQNR dB", "mJ", "runtime", "min ms", "accuracy",
    "efficiency", "no worse", "torch acc@1", "mode", "reasons", "parity", "threads", "campaign", "backend",
    "device", "precision", "acc@1", "device acc@1",
)  # fmt: skip
#: Shown if there are precisions other than fp32.
_QUALITY_COLUMNS = ("SQNR dB", "top-1")
#: Shown where accuracy was measured.
_ACCURACY = {
    "acc@1": "top1", "acc@5": "top5", "torch acc@1": "torch_top1", "no worse": "no_worse",
    "device acc@1": "device_top1",
}  # fmt: skip
_DISTINGUISHING = ("campaign", "precision", "device", "backend", "threads", "mode")
_FAILURE_COLUMNS = ("model", "precision", "work", "state", "class", "stage", "reason")
#: Columns of failures that it hides, as `OPTIONAL`.
OPTIONAL_OF_FAILURES = ("work", "stage", "state", "class")
CAMPAIGN_COLUMNS = (
    "name", "by", "state", "models", "converted", "measured", "failed", "refused", "skipped", "waiting",
)  # fmt: skip
DEVICE_COLUMNS = (
    "device", "pool", "state", "since", "recovery_step", "reason", "owner", "canary ms", "variation",
    "incidents", "last incident",
)  # fmt: skip
OPTIONAL_OF_DEVICES = (
    "owner", "variation", "last incident", "recovery_step", "incidents", "canary ms", "since", "reason",
)  # fmt: skip
CHECK_COLUMNS = ("model", "precision", "check", "operator", "reason")
INCIDENT_COLUMNS = ("device", "when", "fault", "reason", "recovery_steps", "healed", "model")
_LONGEST_REASON = 160


def result_columns(rows: Sequence[Row]) -> list[str]:
    """Return the columns of `rows` of `result_row` to show; columns with one value everywhere are hidden,
    but for a mode that is not `standard`."""
    quality = [name for name in _QUALITY_COLUMNS if any(row[name] for row in rows)]
    telling = [name for name in _DISTINGUISHING if len({row[name] for row in rows}) > 1]
    if "mode" not in telling and any(row["mode"] != Mode.STANDARD for row in rows):
        telling.append("mode")
    score = ["accuracy", "efficiency"] if any(row["accuracy"] for row in rows) else []
    last = [name for name in ("mJ", "runtime", "reasons") if any(row[name] for row in rows)]
    score += [name for name in _ACCURACY if any(row[name] for row in rows)]
    first, *others = _RESULT_COLUMNS
    others[others.index("parity") + 1 : others.index("parity") + 1] = quality
    return [first, *telling, *others, *score, *last]


def result_row(row: Row) -> Row:
    """Format one measurement for people; columns that the table has not are as for a spreadsheet."""
    return csv_row(row) | {
        "parameters": None if row["parameters"] is None else f"{row['parameters']:,}",
        "size": size(row["size_bytes"]),
        "parity": _parity(row),
        "SQNR dB": _decibels(row),
        "top-1": _agreement(row),
        "median ms": _median(row),
        "min ms": milliseconds(row["min_ns"]),
        "p90 ms": milliseconds(row["p90_ns"]),
        "mJ": _energy(row),
        **_score(row),
        **{name: _share(row[column]) for name, column in _ACCURACY.items()},
        "runtime": row["runtime_version"] and f"{row['runtime_version']} {row['runtime_check']}",
        "reasons": _reasons(row),
    }


def telling(columns: Sequence[str], rows: Sequence[Row], *hidden: str) -> list[str]:
    """Return `columns` without those of `hidden` that are empty or 0 in every row."""
    return [name for name in columns if name not in hidden or any(row[name] for row in rows)]


def failure_columns(rows: Sequence[Row]) -> list[str]:
    """Return the columns of `rows` of `failure_row` to show."""
    campaign = ["campaign"] if len({row["campaign"] for row in rows}) > 1 else []
    first, *others = _FAILURE_COLUMNS
    if not any(row.get("precision") for row in rows):
        others.remove("precision")
    return [first, *campaign, *others]


def failure_row(row: Row, *, whole: bool = False) -> Row:
    """Format one failure for people; `whole`: with all of its reason, at whose end the remedy is."""
    reason = row["reason"] or ""
    return {**row, "reason": reason.strip().partition("\n")[0] if whole else shorten(reason)}


def is_listed(check: Row) -> bool:
    """Whether a runtime check is listed and not only counted."""
    return check["runtime_check"] not in {RuntimeVerdict.ACCEPTED, WorkState.QUEUED, WorkState.RUNNING}


def check_row(row: Row) -> Row:
    """Format one runtime check for people."""
    version = row["operator_version"]
    return row | {
        "check": row["runtime_check"],
        "operator": row["operator"] and row["operator"] + ("" if version is None else f" v{version}"),
        "reason": shorten(row["reason"] or ""),
    }


def campaign_row(progress: Progress) -> Row:
    """Format one campaign for people."""
    return progress.as_dict() | {
        "by": progress.submitted_by or "",
        "refused": progress.precisions_refused,
        "waiting": progress.remaining,
    }


def device_row(row: Row, now: datetime | None = None) -> Row:
    """Format one device for people."""
    now = now or datetime.now(UTC)
    return row | {
        "since": ago(row["state_since"], now),
        "reason": shorten(row["reason"] or ""),
        "owner": row["owner_node"],
        "canary ms": _canary(row, now),
        "variation": _variation(row),
        "last incident": _last_incident(row, now),
    }


def incident_row(row: Row) -> Row:
    """Format one incident for people."""
    return row | {
        "when": ago(row["created_at"], datetime.now(UTC)),
        "reason": shorten(row["reason"]),
        "recovery_steps": ", ".join(row["recovery_steps"]),
        "healed": f"after {duration(row['healed_after_ns'] / 1e9)}" if row["healed"] else "not yet",
    }


def ago(moment: datetime, now: datetime) -> str:
    """Return how long ago `moment` was; never in the future, as clocks may differ a little."""
    return f"{duration(max(0.0, (now - moment).total_seconds()))} ago"


def duration(seconds: float) -> str:
    """Format seconds for people: 45 s, 3 min, 2 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def milliseconds(duration_ns: int | None) -> str | None:
    """Return a duration in ms: to a tenth, below 10 to a microsecond, below 0.01 to a nanosecond."""
    if duration_ns is None:
        return None
    digits = 6 if 0 < duration_ns < 10_000 else 3 if duration_ns < 10_000_000 else 1
    return f"{duration_ns / 1e6:.{digits}f}"


def size(size_bytes: int) -> str:
    """Return a size in kB, MB or GB (powers of ten)."""
    if size_bytes < 1e6:
        return f"{size_bytes / 1e3:.0f} kB"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes < 1e9 else f"{size_bytes / 1e9:.1f} GB"


def shorten(reason: str) -> str:
    """Return the first line of `reason`, truncated to fit a table."""
    line = reason.strip().partition("\n")[0]
    return line if len(line) <= _LONGEST_REASON else f"{line[: _LONGEST_REASON - 1]}…"


def csv_row(row: Row) -> Row:
    """Return a measurement for a spreadsheet: every column, lists joined with spaces, objects as JSON."""
    return {name: _cell(value) for name, value in row.items()}


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _canary(row: Row, now: datetime) -> str | None:
    if row["canary_ns"] is None:
        return None
    last = f"{milliseconds(row['canary_ns'])} ({ago(row['canary_at'], now)})"
    if row["canary_changed_at"] is None:
        return last
    return f"{last}; {milliseconds(row['canary_before_ns'])} until {ago(row['canary_changed_at'], now)}"


def _variation(row: Row) -> str | None:
    """Return how much results of a device differ between runs, and whether its duplicates disagree."""
    known = None if row["between_runs"] is None else f"{row['between_runs']:.1%} between runs"
    return (
        ", ".join(filter(None, (known, "suspect: duplicates disagree" if row["suspect"] else None))) or None
    )


def _last_incident(row: Row, now: datetime) -> str | None:
    if row["last_fault"] is None:
        return None
    healed = (
        f"healed after {duration(row['last_healed_after_ns'] / 1e9)}" if row["last_healed"] else "not healed"
    )
    return f"{row['last_fault']} {ago(row['last_incident_at'], now)}, {healed}"


def _median(row: Row) -> str | None:
    """Return the median with half the width of its 95 % interval, where it has one: 12.3 ± 0.4%.

    `± ~19%` is an assumption: no two runs of the device are known.
    """
    low_ns, high_ns = row["interval_low_ns"], row["interval_high_ns"]
    if low_ns is None or high_ns is None or not row["median_ns"]:
        return milliseconds(row["median_ns"])
    share = (high_ns - low_ns) / 2 / row["median_ns"]
    width = f"{share:.1%}" if row["interval_pairs"] else f"~{share:.0%}"
    return f"{milliseconds(row['median_ns'])} ± {width}"


def _energy(row: Row) -> str | None:
    """Return the energy of an inference in millijoules, with half the width of its 95 % interval."""
    energy_uj, low_uj, high_uj = row["energy_uj"], row["energy_low_uj"], row["energy_high_uj"]
    if not energy_uj:
        return None
    width = "" if low_uj is None else f" ± {(high_uj - low_uj) / 2 / energy_uj:.1%}"
    method = "" if row["energy_method"] in {None, EnergyMethod.RAPL} else f" {row['energy_method']}"
    return f"{energy_uj / 1e3:.3g}{width}{method}"


def _score(row: Row) -> Row:
    """Return accuracy and efficiency, which only models generated by NN-GPT show."""
    generated = row["source"] == "nngpt"
    score = row["efficiency"] if generated else None
    return {
        "accuracy": f"{row['accuracy']:.4f}" if generated and row["accuracy"] is not None else None,
        "efficiency": score and (f"{score:.6f}" if row["param_gate_ok"] else "too many parameters"),
    }


def _share(share: float | None) -> str | None:
    return None if share is None else f"{share:.1%}"


def _parity(row: Row) -> str:
    relative = row["parity_relative"]
    return row["parity_state"] if relative is None else f"{relative:.0e} {row['parity_state']}"


def _decibels(row: Row) -> str | None:
    return None if row["precision"] == "fp32" or row["sqnr_db"] is None else f"{row['sqnr_db']:.0f}"


def _agreement(row: Row) -> str | None:
    if row["precision"] == "fp32" or row["top1_agreement"] is None or not row["parity_samples"]:
        return None
    return f"{row['top1_agreement']:.1%}"


def _reasons(row: Row) -> str:
    reasons: list[str] = list(row["reasons"])
    if "partial_delegation" in reasons:
        taken = f"partial_delegation {row['delegated_nodes']}/{row['total_nodes']}"
        reasons[reasons.index("partial_delegation")] = taken
    for reason in (Reason.ARTIFACT_PARITY, Reason.ARTIFACT_PARITY_UNKNOWN):
        if reason in reasons and row["parity_reason"]:
            reasons[reasons.index(reason)] = f"{reason}: {shorten(row['parity_reason'])}"
    if row["evaluation_reason"]:
        reasons.append(f"no accuracy: {shorten(row['evaluation_reason'])}")
    elif row["device_evaluation_reason"]:
        reasons.append(f"no accuracy on the device: {shorten(row['device_evaluation_reason'])}")
    if row["shape"] not in {None, Shape.STEADY}:
        reasons.append(row["shape"])
    reasons += [condition for condition in row["conditions"] or () if condition != Condition.CHARGING]
    if row["suspect"]:
        reasons.append("suspect device")
    if row["error"]:
        reasons.append(shorten(row["error"]))
    return ": ".join(filter(None, (", ".join(reasons), row["noise_cause"])))
