"""Parses which operator, and which version of it, a runtime refuses, from its error message.

The patterns are messages of TensorFlow 2.16.2 (tensorflow/lite/core/api/op_resolver.cc and
tensorflow/lite/core/subgraph.cc, https://github.com/tensorflow/tensorflow/tree/v2.16.2) and its library.
"""

import re
from typing import Final

_NAMED: Final = (
    re.compile(r"for builtin opcode '(?P<operator>\w+)' version '(?P<version>\d+)'"),
    re.compile(r"unresolved custom op: (?P<operator>[^\s.]+)"),
    re.compile(r"Op (?P<operator>builtin_code) out of range: (?P<code>\d+)"),
    re.compile(r"Node number \d+ \((?P<operator>\w+)\) "),
)


def refused_operator(message: str) -> tuple[str | None, int | None]:
    """Return the operator that `message` names and its version; None where it names none.

    An unknown operator has only a number: `builtin_code 207`.
    """
    for pattern in _NAMED:
        if match := pattern.search(message):
            named = match.groupdict()
            operator = " ".join(filter(None, (named["operator"], named.get("code"))))
            version = named.get("version")
            return operator, int(version) if version else None
    return None, None
