"""What a device's log says about delegation, so that the host can check what the app counted.

TFLite writes one line for each delegate that takes nodes of a graph, on
Android in release builds too:
https://github.com/tensorflow/tensorflow/blob/v2.16.1/tensorflow/lite/core/subgraph.cc
(`Subgraph::ReplaceNodeSubsetsWithDelegateKernels`).
"""

import re
from typing import Final

from nnlite.reports.schema import Delegation
from nnlite.vocabulary import Backend

#: What the runtime calls a backend's delegate.
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
    """Return what each delegate took, in the order of the lines of a `logcat` text."""
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
    """Return what a backend's delegate took in all, as a `logcat` text has it; None: it does not say."""
    lines = [line for line in delegations(text) if line.delegate == DELEGATES[backend]]
    if not lines:
        return None
    return Delegation(
        delegate=DELEGATES[backend],
        delegated_nodes=sum(line.delegated_nodes for line in lines),
        total_nodes=max(line.total_nodes for line in lines),
        partitions=sum(line.partitions or 0 for line in lines),
        counted_from="log",
    )


def agreed_delegation(told: Delegation | None, logged: Delegation | None) -> Delegation | None:
    """Return what may be believed of what the app told and its log says: the smaller of two counts.

    None, because neither says anything, means that nothing was delegated: no number is published then.
    """
    if told is None or logged is None:
        return told or logged
    return logged if logged.delegated_nodes < told.delegated_nodes else told
