"""How many nodes of a graph the delegate took, read from the graph itself.

LiteRT logs `Replacing N out of M node(s) with delegate ...` only at a level
that its Python package offers no way to switch on (tried with 2.3.0). But
after delegation the interpreter still lists every original node, and one
`DELEGATE` node for each group that was replaced, with the group's inputs and
outputs: what lies between them was taken.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

#: The name of the node that stands for a delegated group.
DELEGATE: Final = "DELEGATE"


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node of an interpreter's graph; inputs and outputs are indices of tensors."""

    name: str
    inputs: Sequence[int]
    outputs: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Count:
    """Nodes of the original graph, and how many of them the delegate took in how many groups."""

    total: int
    delegated: int
    groups: int


def count_delegated(nodes: Iterable[Node]) -> Count:
    """Count the nodes between every delegate's inputs and outputs."""
    nodes = list(nodes)
    originals = [node for node in nodes if node.name != DELEGATE]
    maker = {tensor: index for index, node in enumerate(originals) for tensor in node.outputs}
    taken: set[int] = set()
    delegates = [node for node in nodes if node.name == DELEGATE]
    for delegate in delegates:
        given = set(delegate.inputs)
        open_tensors = list(delegate.outputs)
        while open_tensors:
            index = maker.get(open_tensors.pop())
            if index is not None and index not in taken:
                taken.add(index)
                open_tensors += [tensor for tensor in originals[index].inputs if tensor not in given]
    return Count(total=len(originals), delegated=len(taken), groups=len(delegates))
