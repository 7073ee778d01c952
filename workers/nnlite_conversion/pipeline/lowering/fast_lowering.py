"""Switches the shortcuts of lowering on: each gives the same operators and outputs in less time.

They replace parts of torch and litert-torch and depend on their inner layout. With other versions than those
that they were compared with, everything is lowered as the libraries do it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache, partial
from importlib.metadata import version

from nnlite.vocabulary import Shortcut
from nnlite_conversion.pipeline.lowering.decomposition_tables import known_composite_operators
from nnlite_conversion.pipeline.lowering.direct_lowering import direct_lowerings
from nnlite_conversion.pipeline.lowering.fast_decomposition import fast_decompositions
from nnlite_conversion.pipeline.lowering.large_weights import LargeWeights
from nnlite_conversion.pipeline.lowering.linear_layers import direct_linear_layers

#: Versions of the libraries that the shortcuts were compared with.
VERSIONS = {
    "torch": "2.13.0",
    "litert-torch": "0.10.0",
    "litert-converter": "0.5.0",
    "jax": "0.10.2",
    "ai-edge-quantizer": "0.10.0",
}

_used = set(Shortcut)
#: Versions of libraries, from files that are read once, before the fork of a child.
_installed = cache(version)


def use(shortcuts: Iterable[Shortcut]) -> None:
    """Use these shortcuts from now on in this process, and no others."""
    _used.clear()
    _used.update(shortcuts)


def uses(shortcut: Shortcut) -> bool:
    """Return whether this process uses a shortcut, which it does with the known libraries only."""
    return shortcut in _used and not_fitting() is None


def not_fitting() -> str | None:
    """Return why no shortcut is used with the installed libraries; None: they are the known ones."""
    others = [
        f"{name} {installed} instead of {known}"
        for name, known in VERSIONS.items()
        if (installed := _installed(name)).partition("+")[0] != known
    ]
    return f"conversions are slower: {', '.join(others)}" if others else None


@contextmanager
def fast_lowering(weights: LargeWeights | None = None) -> Iterator[None]:
    """Use the shortcuts inside the context, where the libraries are the known ones.

    Args:
        weights: takes large weights, which the converter then does not see; None: it sees all.
    """
    with ExitStack() as stack:
        stack.enter_context(known_composite_operators())
        if not_fitting() is None:
            # Each leaves to those before it what it does not cover.
            contexts: dict[Shortcut, Callable[[], AbstractContextManager[None]]] = {
                Shortcut.DECOMPOSITION: fast_decompositions,
                Shortcut.OPERATORS: direct_lowerings,
                Shortcut.LINEAR_LAYERS: partial(direct_linear_layers, weights),
            }
            for shortcut, entered in contexts.items():
                if shortcut in _used:
                    stack.enter_context(entered())
        yield
