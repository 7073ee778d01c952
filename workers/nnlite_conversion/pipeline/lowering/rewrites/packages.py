"""Rewrites that other packages bring, by entry points of the group `nnlite.rewrites`.

An entry point is a rewrite of the graph, or a mapping of operators to their rewrites; for a network's own
operators too (`torch.library`). Such code runs in the child, as models do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import torch

from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import Stage
from nnlite_conversion.cache_key import PACKAGES_GROUP
from nnlite_conversion.explanations import summary
from nnlite_conversion.pipeline.lowering.rewrites.operators import OperatorRewrites


@dataclass(frozen=True, kw_only=True)
class PackageRewrites:
    """What all installed packages bring."""

    graphs: tuple[Callable[[torch.fx.Graph], bool], ...]
    operators: OperatorRewrites


@cache
def of_packages() -> PackageRewrites:
    """Load the rewrites of all packages, in the order of their names.

    Raises:
        Failure: class `converter`: an entry point cannot be loaded, or is no rewrite.
    """
    graphs: list[Callable[[torch.fx.Graph], bool]] = []
    operators: dict[Any, Callable[..., Any]] = {}
    for entry in sorted(entry_points(group=PACKAGES_GROUP), key=lambda entry: entry.name):
        rewrites = _loaded(entry)
        if isinstance(rewrites, Mapping):
            operators.update(rewrites)
        else:
            graphs.append(rewrites)
    return PackageRewrites(graphs=tuple(graphs), operators=operators)


def _loaded(entry: EntryPoint) -> OperatorRewrites | Callable[[torch.fx.Graph], bool]:
    try:
        rewrites = entry.load()
    except Exception as error:
        raise _failure(entry, f"cannot be loaded: {summary(error)}") from error
    if not callable(rewrites) and not (
        isinstance(rewrites, Mapping)
        and all(isinstance(key, torch._ops.OpOverload) and callable(rewrites[key]) for key in rewrites)
    ):
        raise _failure(entry, "is neither a function nor a mapping of operators to functions")
    return rewrites  # type: ignore[no-any-return]


def _failure(entry: EntryPoint, problem: str) -> Failure:
    package = f" of package {entry.dist.name}" if entry.dist else ""
    reason = (
        f"entry point {entry.name}{package} in the group {PACKAGES_GROUP} {problem}; mend or uninstall it"
    )
    return Failure(FailureClass.CONVERTER, Stage.EXPORT, reason)
