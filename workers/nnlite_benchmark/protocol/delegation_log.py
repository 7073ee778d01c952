"""Parses delegated node counts from the log of TensorFlow Lite.

It logs one line for each delegate that takes nodes of a graph, on Android in release builds too:
https://github.com/tensorflow/tensorflow/blob/v2.16.1/tensorflow/lite/core/subgraph.cc
(`Subgraph::ReplaceNodeSubsetsWithDelegateKernels`).

Imports the standard library only, for the measuring process of hosts.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

#: The runtime's name of XNNPACK's delegate.
XNNPACK: Final = "TfLiteXNNPackDelegate"

_LINE: Final = re.compile(
    r"Replacing (?P<taken>\d{1,15}) out of (?P<total>\d{1,15}) node\(s\) with delegate "
    r"\((?P<name>[^()\r\n]{1,300})\)(?: node, yielding (?P<partitions>\d{1,15}) partitions)?",
    re.ASCII,
)


def logged(text: str) -> Iterator[dict[str, Any]]:
    """Yield the fields of a report's `Delegation` for each such line of a log, in order."""
    for line in _LINE.finditer(text):
        yield {
            "delegate": line["name"],
            "delegated_nodes": int(line["taken"]),
            "total_nodes": int(line["total"]),
            "partitions": int(line["partitions"]) if line["partitions"] else None,
            "counted_from": "log",
        }


def over_subgraphs(lines: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return one delegate's `Delegation` over all subgraphs, each of which has a line; None: no line."""
    if not lines:
        return None
    sums = {
        name: sum(line[name] or 0 for line in lines)
        for name in ("delegated_nodes", "total_nodes", "partitions")
    }
    return lines[-1] | sums
