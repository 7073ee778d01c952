"""What a host's number says about the runtime on phones: the host's LiteRT against the app's own library.

Artifacts of random LEMUR models, one thread, both with XNNPACK, in one process on one core. The two take
turns of some tens of milliseconds, so that other load on the machine meets both, and the ratio of their
medians holds where the medians do not. `python tests/benchmarks/app_runtime.py [MODELS [PRECISION]]` prints
the figures.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from android_app.runtime_match import LIBRARY, make_artifacts
from nnlite.vocabulary import Backend, Precision
from nnlite_benchmark.android.app.delegation import logged_delegation

MODELS = 20
#: As of `make runtime-match`.
SEED = 16
#: Turns of each runtime.
TURNS = 20
TURN_S = 0.04
PROGRAM = Path(__file__).parent / "programs" / "take_turns.py"
_TIMEOUT_S = 600


def run(
    models: int = MODELS,
    artifacts: Sequence[tuple[Path, Precision]] = (),
    *,
    precision: Precision = Precision.FP32,
    turns: int = TURNS,
    turn_s: float = TURN_S,
) -> dict[str, Any]:
    """Return the ratio of medians, app / host: of all fp32 artifacts, of each precision and artifact.

    Args:
        models: number of random models.
        artifacts: what to measure instead of their artifacts.
        precision: of the models' artifacts.
        turns: how often each runtime gets a turn.
        turn_s: how long a turn takes at least, seconds.
    """
    with tempfile.TemporaryDirectory(prefix="nnlite-benchmark-") as folder:
        words = ("--lemur", str(models), "--seed", str(SEED), "--precision", precision)
        artifacts = artifacts or make_artifacts(Path(folder) / "artifacts", *words)
        each = [
            _compared(artifact, precision, turns, turn_s, Path(folder) / "log")
            for artifact, precision in artifacts
        ]
    ran = [one for one in each if "ratio" in one]
    fp32 = [one["ratio"] for one in ran if one["precision"] == Precision.FP32]
    return {
        "artifacts": len(each),
        "refused": len(each) - len(ran),
        "by_precision": {
            precision.value: _figures(of)
            for precision in Precision
            if (of := [one for one in ran if one["precision"] == precision])
        },
        "app_to_host_ratio": median(fp32) if fp32 else None,
        "each": each,
    }


def table(each: Iterable[dict[str, Any]]) -> str:
    """Return the artifacts that ran as a Markdown table."""
    rows = [
        f"| {one['model']} | {one['precision']} | {one['host_ms']:.3g} | {one['app_ms']:.3g} "
        f"| {one['ratio']:.2f} | {one['delegated']} |"
        for one in each
        if "ratio" in one
    ]
    head = "| model | precision | host, ms | app, ms | app / host | nodes that XNNPACK takes in the app |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def _figures(of: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ratios = sorted(one["ratio"] for one in of)
    return {
        "artifacts": len(of),
        "median_ratio": round(median(ratios), 3),
        "lowest_ratio": round(ratios[0], 3),
        "highest_ratio": round(ratios[-1], 3),
        "within_a_fifth": sum(0.8 <= ratio <= 1.25 for ratio in ratios),
    }


def _compared(artifact: Path, precision: Precision, turns: int, turn_s: float, log: Path) -> dict[str, Any]:
    """Return the medians of an artifact in both runtimes; without a ratio if one of them refused it."""
    log.write_text("")
    command = [sys.executable, PROGRAM, LIBRARY, artifact, str(turns), str(turn_s), log]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    named: dict[str, Any] = {
        "model": artifact.name.removesuffix(f".{precision}.tflite"),
        "precision": precision.value,
    }
    if done.returncode:
        return named | {"refused": done.stderr.strip().rpartition("\n")[2]}
    medians = json.loads(done.stdout)
    taken = [line for line in log.read_text().splitlines() if "Replacing" in line]
    delegation = logged_delegation("\n".join(taken), Backend.CPU)
    return named | {
        "host_ms": medians["host_ns"] / 1e6,
        "app_ms": medians["app_ns"] / 1e6,
        "ratio": medians["app_ns"] / medians["host_ns"],
        "delegated": delegation
        and f"{delegation.delegated_nodes} of {delegation.total_nodes}, in {delegation.partitions} parts",
    }


if __name__ == "__main__":
    figures = run(
        int((sys.argv[1:] or [MODELS])[0]), precision=Precision((sys.argv[2:] or [Precision.FP32])[0])
    )
    print(table(figures.pop("each")))
    print(json.dumps(figures, indent=1))
