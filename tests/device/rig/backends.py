"""Backends of a virtual device: the app's own, or a GPU and an NPU that work, on request.

The app itself finds neither GPU nor NPU on this machine. One that works on request is
its CPU: the app is asked for that, and its answer names the backend's delegate.
"""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

_FILE: Final = "backends.json"
_DELEGATES: Final = {"gpu": "TfLiteGpuDelegateV2", "npu": "TfLiteNnapiDelegate"}
_LOGGED: Final = re.compile(
    r"Replacing \d+ out of (\d+) node\(s\) with delegate \(\w+\) node, yielding \d+ partitions"
)


class Mode(StrEnum):
    """Behaviour of the GPU or the NPU."""

    OWN = "own"  # what the app makes of this machine: a refusal
    WORKS = "works"  # takes every node
    PARTIAL = "partial"  # takes all nodes but the last


def set_modes(folder: Path, **chosen: Mode) -> None:
    """Set the modes of backends, in the folder of the device's faults."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE).write_text(json.dumps(chosen))


def mode_of(folder: Path, backend: str) -> Mode:
    """Return the mode of a backend."""
    file = folder / _FILE
    chosen = json.loads(file.read_text()) if file.exists() else {}
    return Mode(chosen.get(backend, Mode.OWN))


def renamed_report(report: Mapping[str, Any], backend: str, mode: Mode) -> dict[str, Any]:
    """Return a report of the CPU as one of a backend that works."""
    if report["delegation"] is None:
        return dict(report)
    delegated, partitions = _taken(report["delegation"]["total_nodes"], mode)
    own = {"precision_loss": False} if backend == "gpu" else {"nnapi_errno": 0}
    named = {
        "delegate": _DELEGATES[backend], "delegated_nodes": delegated, "partitions": partitions
    }  # fmt: skip
    return {**report, **own, "delegation": {**report["delegation"], **named}}


def renamed_log(line: str, backend: str, mode: Mode) -> str:
    """Return a line of the app's log as it is if a backend works."""

    def renamed(match: re.Match[str]) -> str:
        total = int(match[1])
        delegated, partitions = _taken(total, mode)
        return (
            f"Replacing {delegated} out of {total} node(s) with delegate ({_DELEGATES[backend]}) node, "
            f"yielding {partitions} partitions"
        )

    return _LOGGED.sub(renamed, line)


def _taken(total: int, mode: Mode) -> tuple[int, int]:
    """Return how many nodes of a graph are delegated, and into how many partitions that cuts it."""
    return (total, 1) if mode is Mode.WORKS else (max(total - 1, 1), 2)
