"""Names the tensors of an artifact after the nodes of the exported graph that they come from.

By default litert-torch names them after modules, which do not tell two operators of one module apart.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from litert_torch.backend import debuginfo

#: Separates the names of fused nodes. The converter makes equal names unique by a number at the end.
SEPARATOR = ";"


@contextmanager
def tensors_named_after_nodes() -> Iterator[None]:
    """Let files that are lowered inside name each tensor `node;`, or `node;;other_node;` where nodes fuse."""
    original = debuginfo.build_mlir_debuginfo
    debuginfo.build_mlir_debuginfo = _name
    try:
        yield
    finally:
        debuginfo.build_mlir_debuginfo = original


def node_names(tensor_name: str) -> tuple[str, ...]:
    """Return the nodes that a tensor's name lists; empty: it has another name, as inputs and outputs do."""
    *names, number = tensor_name.split(SEPARATOR)
    return tuple(name for name in names if name) if number == "" or number.isdecimal() else ()


def _name(node: torch.fx.Node) -> str:
    return f"{debuginfo.build_nodename_debuginfo(node) or node.name}{SEPARATOR}"
