"""Parses which operators the GPU delegate refuses, and why, from what it wrote during the initialization.

The text: tensorflow/lite/delegates/gpu/common/model_builder.cc (`GetOpsToReplace`), 2.16.1. NNAPI writes
none.
"""

import re
from typing import Final

from nnlite.reports.schema import MAX_REFUSALS, DelegateRefusal
from nnlite_benchmark.android.properties.parsers import word

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
