"""What the app's delegates take: their counts of nodes in logcat, and what the GPU delegate refuses, and why.

The text of refusals: tensorflow/lite/delegates/gpu/common/model_builder.cc (`GetOpsToReplace`), 2.16.1. NNAPI
writes none.
"""

import re
from typing import Final

from nnlite.reports.schema import MAX_REFUSALS, DelegateRefusal, Delegation
from nnlite.vocabulary import Backend
from nnlite_benchmark.android.properties.parsers import word
from nnlite_benchmark.protocol.delegation_log import XNNPACK, logged, over_subgraphs

_HEAD: Final = "Following operations are not supported by GPU delegate:"
_TAIL: Final = re.compile(r"(?:\d+|No) operations will run on the GPU")
_LINE: Final = re.compile(r"(?P<operator>[A-Za-z_][\w.:]{0,199}): (?P<reason>\S.*)")


def delegate_refusals(messages: str | None) -> tuple[DelegateRefusal, ...]:
    """Return the refused operators, each with the delegate's reason; the last one's may be cut."""
    _, head, listed = (messages or "").partition(_HEAD)
    refusals: list[DelegateRefusal] = []
    for line in listed.splitlines() if head else ():
        if _TAIL.match(line):
            break
        if match := _LINE.fullmatch(line.strip()):
            refusals.append(DelegateRefusal(operator=match["operator"], reason=word(match["reason"])))
    return tuple(refusals[:MAX_REFUSALS])


def logged_delegation(text: str, backend: Backend) -> Delegation | None:
    """Return a backend's delegation over all subgraphs, each of which has a line; None: no such line."""
    # Other runtimes name the delegates of gpu and npu otherwise.
    lines = [line for line in logged(text) if (line["delegate"] == XNNPACK) == (backend is Backend.CPU)]
    fields = over_subgraphs(lines)
    return None if fields is None else Delegation(**fields)


def agreed_delegation(reported: Delegation | None, logged: Delegation | None) -> Delegation | None:
    """Return the smaller of the app's count and the count of its log.

    None if both are missing: then the run counts as not delegated, and no latency is published.
    """
    if reported is None or logged is None:
        return reported or logged
    return logged if logged.delegated_nodes < reported.delegated_nodes else reported
