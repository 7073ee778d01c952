"""Backends of a virtual device: the CPU computes, the others reject unless configured otherwise."""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from nnlite_benchmark.host.graph_delegation import DELEGATE, Node, count_delegated

_FILE = "backends.json"
DELEGATES = {"cpu": "TfLiteXNNPackDelegate", "gpu": "TfLiteGpuDelegateV2", "npu": "TfLiteNnapiDelegate"}


class Mode(StrEnum):
    """Behaviour of a backend."""

    WORKS = "works"  # takes every node; gpu and npu compute on the CPU and say otherwise
    PARTIAL = "partial"  # gpu and npu: takes all nodes but the last
    TAKES_NOTHING = "takes_nothing"
    REFUSES = "refuses"  # the delegate cannot be made


def set_modes(folder: Path, **chosen: Mode) -> None:
    """Set the modes of backends, in the folder of the device's faults."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE).write_text(json.dumps({**modes(folder), **chosen}))


def modes(folder: Path) -> Mapping[str, Mode]:
    """Return the mode of each backend."""
    chosen = {"cpu": Mode.WORKS, "gpu": Mode.REFUSES, "npu": Mode.TAKES_NOTHING, "cpu-plain": Mode.WORKS}
    file = folder / _FILE
    if file.exists():
        chosen |= {name: Mode(mode) for name, mode in json.loads(file.read_text()).items()}
    return chosen


def delegation_of(interpreter: Any, backend: str, mode: Mode) -> dict[str, Any]:
    """Return how much of a prepared graph the backend's delegate took, as in a run report."""
    nodes = [
        Node(
            name=op["op_name"], inputs=[int(i) for i in op["inputs"]], outputs=[int(i) for i in op["outputs"]]
        )
        for op in interpreter._get_ops_details()
    ]
    total = sum(node.name != DELEGATE for node in nodes)
    if backend == "cpu":
        count = count_delegated(nodes)
        delegated, groups = count.delegated, count.groups
        partitions = groups if delegated == total else 2 * groups + 1
    else:
        delegated = {Mode.WORKS: total, Mode.PARTIAL: max(total - 1, 1)}.get(mode, 0)
        partitions = 1 if delegated == total else 2
    return {
        "delegate": DELEGATES[backend],
        "delegated_nodes": delegated,
        "total_nodes": total,
        "partitions": partitions,
        "counted_from": "log",
    }
