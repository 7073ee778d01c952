"""Selects models from a catalog: by name, by pattern, or as a reproducible sample."""

import random
from collections.abc import Sequence
from fnmatch import fnmatchcase

from nnlite.catalog.lemur.variants import architecture
from nnlite.catalog.model import CatalogError, CatalogModel
from nnlite.errors import did_you_mean, is_pattern

#: Unknown names that an error spells out; searching close matches of thousands would take minutes.
MAX_EXPLAINED = 5


def select(
    models: Sequence[CatalogModel],
    names: Sequence[str] = (),
    match: str | None = None,
    limit: int | None = None,
    seed: int | None = None,
) -> list[CatalogModel]:
    """Return the named models in the order given, then the others by name.

    The others are those that `match`, or all when neither a name nor a pattern is given. Named models are
    taken even if they are skipped: they become rows with their reason.

    Args:
        limit: at most this many models, named ones included; skipped models that are not named are then not
            taken. None: no limit.
        seed: with `limit`, draw uniformly instead of taking the first by name; equal seeds draw equally.

    Raises:
        CatalogError: an unknown name, a pattern that nothing matches, or a limit below the names given.
    """
    known: dict[str, list[CatalogModel]] = {}
    for model in models:
        # The name of an architecture selects all its configurations.
        for name in dict.fromkeys((model.name, architecture(model.name))):
            known.setdefault(name, []).append(model)
    if unknown := [name for name in names if name not in known]:
        raise CatalogError(_unknown(unknown, list(known)))
    named = list({model.name: model for name in names for model in known[name]}.values())
    pool = [] if names and match is None else _matching(models, match, {model.name for model in named})
    if limit is None:
        return named + pool
    if limit < len(named):
        raise CatalogError(f"limit {limit} is below the {len(named)} models named; raise it or name fewer")
    return named + sample([model for model in pool if model.skipped is None], limit - len(named), seed)


def check_names(models: Sequence[CatalogModel], words: Sequence[str]) -> list[str]:
    """Check that words that are no glob patterns are names of models; return the patterns that match none.

    Raises:
        CatalogError: a name is unknown.
    """
    known = {name: None for model in models for name in (model.name, architecture(model.name))}
    absent = [word for word in words if not any(fnmatchcase(name, word) or name == word for name in known)]
    if unknown := [word for word in absent if not is_pattern(word)]:
        raise CatalogError(_unknown(unknown, list(known)))
    return absent


def matches(name: str, pattern: str) -> bool:
    """Return whether a glob pattern matches the name of a model or of its architecture."""
    return fnmatchcase(name, pattern) or fnmatchcase(architecture(name), pattern)


def _matching(models: Sequence[CatalogModel], match: str | None, excluded: set[str]) -> list[CatalogModel]:
    matching = [model for model in models if match is None or matches(model.name, match)]
    if not matching:
        raise CatalogError(f"none of {len(models):,} names matches {match!r}; `nnlite models` lists them")
    return sorted((model for model in matching if model.name not in excluded), key=lambda model: model.name)


def sample(pool: list[CatalogModel], count: int, seed: int | None) -> list[CatalogModel]:
    """Return `count` models of a pool sorted by name: the first ones, or with a seed a random sample."""
    if seed is None or count >= len(pool):
        return pool[:count]
    return sorted(random.Random(seed).sample(pool, count), key=lambda model: model.name)


def _unknown(unknown: list[str], known: list[str]) -> str:
    lines = [f"unknown model {name}{did_you_mean(name, known)}" for name in unknown[:MAX_EXPLAINED]]
    if len(unknown) > MAX_EXPLAINED:
        lines.append(f"and {len(unknown) - MAX_EXPLAINED} more unknown names")
    return "\n".join([*lines, "`nnlite models 'PATTERN*'` lists names"])
