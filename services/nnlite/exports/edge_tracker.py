"""NN-GPT's `edge_tracker.json`: its fields in its order, with latencies of a device in place of its host's.

What the fields mean is taken from NN-GPT's own edge scorer
(https://github.com/ABrain-One/nn-gpt, ab/gpt/act/edge/EdgeScore.py and EdgeBench.py). Values in, values out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from nnlite.catalog.nngpt.folder import CODE, DEFAULT_CONFIG
from nnlite.exports.novelty import REFERENCE_THRESHOLD

Json = dict[str, Any]
T = TypeVar("T")

FILE = "edge_tracker.json"
_INPUT_SIZE = 256
#: Of latencies in milliseconds.
_LATENCY_DIGITS = 3


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One generated model: its attributes and results."""

    #: `A<e>_B<i>`
    tag: str
    dataset: str
    #: Pixels; None: unknown.
    input_size: int | None
    accuracy: float | None
    parameters: int | None
    #: Whether it is none of the copies that NN-GPT's novelty filter finds, and what it resembles most.
    novel: bool = True
    max_similarity: float | None = None
    similar_to: str | None = None
    #: Why NN-GPT rejected it before its evaluation; None: it did not.
    rejection: str | None = None
    #: Path of the artifact; None without one.
    tflite_path: str | None = None
    #: Why it has no artifact.
    tflite_error: str | None = None
    #: Median of its valid measurements, and their device or pool.
    latency_ms: float | None = None
    latency_source: str | None = None
    #: Whether the artifact's outputs are PyTorch's; None without an artifact.
    parity_state: str | None = None
    #: Why it has no latency.
    error: str | None = None


def efficiency(accuracy: float | None, latency_ms: float | None) -> float | None:
    """Return accuracy / latency in 1/ms, rounded as NN-GPT does; None without either."""
    return None if accuracy is None or not latency_ms else round(accuracy / latency_ms, 6)


def edge_tracker(
    models: Sequence[Scored],
    *,
    param_limit: int,
    epoch_root: Path,
    timestamp: datetime,
    similarity_threshold: float = REFERENCE_THRESHOLD,
) -> Json:
    """Return the content of the file.

    Args:
        param_limit: models with more parameters are not eligible.
        timestamp: of the tracker; NN-GPT writes local time without an offset.
        similarity_threshold: that the models' novelty was judged with.
    """
    per_model = [_model(model, param_limit, epoch_root) for model in models]
    per_epoch: dict[str, list[Json]] = {}
    for row in per_model:
        per_epoch.setdefault(row["epoch"], []).append(row)
    best = _best(per_model)
    return {
        "timestamp": timestamp.isoformat(),
        "dataset": _most_frequent([model.dataset for model in models], DEFAULT_CONFIG.dataset),
        "input_size": _most_frequent([model.input_size for model in models if model.input_size], _INPUT_SIZE),
        "param_limit": param_limit,
        "similarity_threshold": similarity_threshold,
        "epoch_root": str(epoch_root),
        "per_epoch": [_epoch(epoch, per_epoch[epoch]) for epoch in sorted(per_epoch, key=int)],
        "per_model": per_model,
        "best_model": best and best["tag"],
        "best_efficiency": best and best["efficiency"],
        "best_epoch": best and best["epoch"],
    }


def _model(model: Scored, param_limit: int, epoch_root: Path) -> Json:
    epoch, model_id = model.tag.split("_")
    if model.rejection is not None:
        return {
            "tag": model.tag,
            "epoch": epoch.removeprefix("A"),
            "model_id": model_id,
            "pre_eval_rejected": True,
            "rejection_reason": model.rejection,
            "novel": False,
            "eligible": False,
            "accuracy": None,
            "efficiency": None,
        }
    gate = None if model.parameters is None else model.parameters <= param_limit
    latency_ms = None if model.latency_ms is None else round(model.latency_ms, _LATENCY_DIGITS)
    score = efficiency(model.accuracy, latency_ms)
    return {
        "tag": model.tag,
        "epoch": epoch.removeprefix("A"),
        "model_id": model_id,
        "novel": model.novel,
        # NN-GPT's own check of the sequence of layers needs its database; it decides nothing.
        "structurally_novel": None,
        "max_similarity": model.max_similarity,
        "similar_to": model.similar_to,
        "eligible": bool(gate and score is not None and model.novel),
        "nn_file": str(epoch_root / epoch / "synth_nn" / model_id / CODE),
        "dataset": model.dataset,
        "input_size": model.input_size,
        "accuracy": model.accuracy,
        "params": model.parameters,
        "param_gate_ok": gate,
        "param_limit": param_limit,
        # Of NN-GPT's host: nothing is measured with PyTorch here.
        "torch_cpu_latency_ms": None,
        "tflite_ok": model.tflite_path is not None,
        "tflite_error": model.tflite_error,
        "tflite_path": model.tflite_path,
        "tflite_parity": model.parity_state,
        "latency_ms": latency_ms,
        "latency_source": model.latency_source,
        "efficiency": score,
        "error": model.error,
        "torch_num_threads": None,
    }


def _epoch(epoch: str, rows: Sequence[Json]) -> Json:
    best = _best(rows)
    return {
        "epoch": epoch,
        "models": len(rows),
        "evaluated": sum(row["accuracy"] is not None for row in rows),
        "eligible": sum(row["eligible"] for row in rows),
        "best_efficiency": best and best["efficiency"],
        "best_model": best and best["tag"],
    }


def _best(rows: Sequence[Json]) -> Json | None:
    """Return the eligible row with the highest efficiency, of equal ones the first."""
    return max((row for row in rows if row["eligible"]), key=lambda row: row["efficiency"], default=None)


def _most_frequent(values: Sequence[T], otherwise: T) -> T:
    return Counter(values).most_common(1)[0][0] if values else otherwise
