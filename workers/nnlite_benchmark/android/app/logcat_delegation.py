"""Parses delegated node counts from logcat, to verify the app's own count.

TFLite logs one line for each delegate that takes nodes of a graph, on Android
in release builds too:
https://github.com/tensorflow/tensorflow/blob/v2.16.1/tensorflow/lite/core/subgraph.cc
(`Subgraph::ReplaceNodeSubsetsWithDelegateKernels`).
"""

import re
from typing import Final

from nnlite.reports.schema import Delegation
from nnlite.vocabulary import Backend

#: The runtime's name of each backend's delegate.
DELEGATES: Final = {
    Backend.CPU: "TfLiteXNNPackDelegate",
    Backend.GPU: "TfLiteGpuDelegateV2",
    Backend.NPU: "TfLiteNnapiDelegate",
}

_LINE: Final = re.compile(
    r"Replacing (?P<taken>\d{1,15}) out of (?P<total>\d{1,15}) node\(s\) with delegate "
    r"\((?P<name>[^()\r\n]{1,300})\)(?: node, yielding (?P<partitions>\d{1,15}) partitions)?",
    re.ASCII,
)


def delegations(text: str) -> tuple[Delegation, ...]:
    """Return the delegations of a `logcat` text, in the order of its lines."""
    return tuple(
        Delegation(
            delegate=line["name"],
            delegated_nodes=int(line["taken"]),
            total_nodes=int(line["total"]),
            partitions=int(line["partitions"]) if line["partitions"] else None,
            counted_from="log",
        )
        for line in _LINE.finditer(text)
    )


def logged_delegation(text: str, backend: Backend) -> Delegation | None:
    """Return a backend's delegation over all subgraphs, each of which has a line; None: no such line."""
    lines = [line for line in delegations(text) if _is_of(backend, line.delegate)]
    if not lines:
        return None
    return Delegation(
        delegate=lines[-1].delegate,
        delegated_nodes=sum(line.delegated_nodes for line in lines),
        total_nodes=sum(line.total_nodes for line in lines),
        partitions=sum(line.partitions or 0 for line in lines),
        counted_from="log",
    )


def _is_of(backend: Backend, delegate: str) -> bool:
    """Return whether a delegate is the backend's: other runtimes name those of gpu and npu otherwise."""
    return (delegate == DELEGATES[Backend.CPU]) == (backend is Backend.CPU)


def agreed_delegation(reported: Delegation | None, logged: Delegation | None) -> Delegation | None:
    """Return the smaller of the app's count and the count of its log.

    None if both are missing: then the run counts as not delegated, and no latency is published.
    """
    if reported is None or logged is None:
        return reported or logged
    return logged if logged.delegated_nodes < reported.delegated_nodes else reported
