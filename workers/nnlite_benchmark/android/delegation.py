"""What a device's log says about delegation, so that the host can check what the app counted.

TFLite writes one line for each delegate that takes nodes of a graph, on
Android in release builds too:
https://github.com/tensorflow/tensorflow/blob/v2.16.1/tensorflow/lite/core/subgraph.cc
(`Subgraph::ReplaceNodeSubsetsWithDelegateKernels`).
"""

import re
from typing import Final

from nnlite.results.report import Delegation

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
