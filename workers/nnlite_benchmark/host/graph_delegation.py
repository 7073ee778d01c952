"""Counts the delegated nodes of an interpreter's graph, and groups them.

LiteRT logs `Replacing N out of M node(s) with delegate ...` only at a level that
its Python package cannot enable (tried with 2.3.0). But after delegation the
interpreter still lists every original node, and one `DELEGATE` node for each
replaced group with the group's inputs and outputs: the nodes in between are
delegated.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

#: Name of the node that replaces a delegated group.
DELEGATE: Final = "DELEGATE"


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node of an interpreter's graph; inputs and outputs are indices of tensors."""

    name: str
    inputs: Sequence[int]
    outputs: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Count:
    """Nodes of the original graph, delegated nodes, and groups of them."""

    total: int
    delegated: int
    groups: int


def count_delegated(nodes: Iterable[Node]) -> Count:
    """Count the nodes between the inputs and outputs of every `DELEGATE` node."""
    nodes = list(nodes)
    groups = delegated_groups(nodes)
    return Count(
        total=sum(node.name != DELEGATE for node in nodes),
        delegated=sum(map(len, groups)),
        groups=len(groups),
    )


def undelegated(nodes: Iterable[Node]) -> Counter[str]:
    """Return the names of the original nodes that no delegate took, with their numbers."""
    nodes = list(nodes)
    taken = {index for group in delegated_groups(nodes) for index in group}
    originals = [node for node in nodes if node.name != DELEGATE]
    return Counter(node.name for index, node in enumerate(originals) if index not in taken)


def delegated_groups(nodes: Iterable[Node]) -> list[list[int]]:
    """Return the indices of the original nodes that each `DELEGATE` node replaces, ascending."""
    nodes = list(nodes)
    originals = [node for node in nodes if node.name != DELEGATE]
    producer = {tensor: index for index, node in enumerate(originals) for tensor in node.outputs}
    delegated: set[int] = set()
    groups = []
    for delegate in (node for node in nodes if node.name == DELEGATE):
        group: set[int] = set()
        group_inputs = set(delegate.inputs)
        open_tensors = list(delegate.outputs)
        while open_tensors:
            index = producer.get(open_tensors.pop())
            if index is not None and index not in delegated:
                delegated.add(index)
                group.add(index)
                open_tensors += [tensor for tensor in originals[index].inputs if tensor not in group_inputs]
        groups.append(sorted(group))
    return groups
