"""Which settings of an architecture change its latency: compares its configurations with each other.

A setting is a hyperparameter that the network's code reads, the transform or the data set. Two configurations
that differ in one setting alone tell its effect; where no two do, what differs together is named. Latencies
differ if each is outside of the other's 95 % interval.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations, groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from nnlite.catalog.lemur.network_keys import network_keys
from nnlite.catalog.lemur.variants import architecture, network_hyperparameters
from nnlite.catalog.model import canonical_json
from nnlite.results.reading import Database, Row, rows_of
from nnlite.vocabulary import Verdict

#: What the results that are compared have in common, besides the code.
KEY: Final = ("pool", "device", "precision", "backend", "threads", "mode")
#: Most configurations of one architecture that are compared; each with each other.
MAX_CONFIGURATIONS: Final = 200


class _Configuration(NamedTuple):
    """A configuration that was measured."""

    settings: dict[str, Any]
    row: Row


def effects(
    database: Database, campaign: str | None = None, verdicts: Sequence[Verdict] = (Verdict.VALID,)
) -> list[Row]:
    """Return one row for each architecture, device and setting, the largest effects first."""
    rows = rows_of(database, _RESULTS, {"campaign": campaign, "verdicts": [*verdicts]})
    return compared(rows)


def compared(rows: Iterable[Row]) -> list[Row]:
    """Compare results, each with its code, hyperparameters, transform, dataset, median and interval."""
    found = []
    names = ("code_sha256", *KEY)
    for _, group in groupby(sorted(rows, key=itemgetter(*names, "model")), key=itemgetter(*names)):
        of_group = list(group)
        configurations = _configurations(of_group)[:MAX_CONFIGURATIONS]
        named = {"architecture": architecture(of_group[0]["model"])}
        named |= {name: of_group[0][name] for name in KEY}
        found += [named | effect for effect in _effects(configurations)]
    return sorted(found, key=lambda row: (not row["changed"], -row["factor"], row["architecture"]))


def _configurations(rows: Sequence[Row]) -> list[_Configuration]:
    """Return the distinct configurations of one network's code, with the settings that may change it."""
    keys = network_keys(rows[0]["code"])
    distinct: dict[bytes, _Configuration] = {}
    for row in rows:
        settings = network_hyperparameters(row["hyperparameters"], keys)
        settings |= {"transform": row["transform"], "dataset": row["dataset"]}
        distinct.setdefault(canonical_json(settings), _Configuration(settings, row))
    return list(distinct.values())


def _effects(configurations: Sequence[_Configuration]) -> list[Row]:
    pairs: dict[tuple[str, ...], list[tuple[_Configuration, _Configuration]]] = defaultdict(list)
    for one, other in combinations(configurations, 2):
        names = sorted(one.settings | other.settings)
        differing = tuple(name for name in names if one.settings.get(name) != other.settings.get(name))
        pairs[differing].append((one, other))
    telling = _smallest(pairs)
    return [_effect(names, of_names) for names, of_names in pairs.items() if names in telling]


def _smallest(changes: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Return those that contain no other one; each is compared with smaller ones alone, as bits."""
    bits: dict[str, int] = defaultdict(lambda: 1 << len(bits))
    smallest: set[tuple[str, ...]] = set()
    found: list[int] = []
    for _, of_size in groupby(sorted(changes, key=len), key=len):
        kept = {names: sum(bits[name] for name in names) for names in of_size}
        kept = {names: mask for names, mask in kept.items() if not any(less & mask == less for less in found)}
        smallest |= kept.keys()
        found += kept.values()
    return smallest


def _effect(names: tuple[str, ...], pairs: Sequence[tuple[_Configuration, _Configuration]]) -> Row:
    """Return the effect of the settings `names`, from the pairs that differ in them alone."""
    ordered = [sorted(pair, key=lambda each: each.row["median_ns"]) for pair in pairs]
    faster, slower = max(ordered, key=lambda pair: (_apart(*pair), _factor(*pair)))
    return {
        "setting": " + ".join(names),
        "alone": len(names) == 1,
        "pairs": len(pairs),
        "changed": sum(_apart(*pair) for pair in ordered),
        "faster": _values(faster, names),
        "slower": _values(slower, names),
        "faster_ns": faster.row["median_ns"],
        "slower_ns": slower.row["median_ns"],
        "factor": _factor(faster, slower),
    }


def _apart(faster: _Configuration, slower: _Configuration) -> bool:
    """Return whether each median is outside of the other's interval; without one that is not known.

    An interval covers another measurement, so it has the variation of both in it.
    """
    high_ns, low_ns = faster.row["interval_high_ns"], slower.row["interval_low_ns"]
    if high_ns is None or low_ns is None:
        return False
    return bool(high_ns < slower.row["median_ns"] and faster.row["median_ns"] < low_ns)


def _factor(faster: _Configuration, slower: _Configuration) -> float:
    return float(slower.row["median_ns"] / faster.row["median_ns"])


def _values(configuration: _Configuration, names: tuple[str, ...]) -> str:
    values = (configuration.settings.get(name) for name in names)
    return " + ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in values)


_RESULTS = """
SELECT l.model, l.pool, l.device, l.precision, l.backend, l.threads, l.mode, l.hyperparameters, l.transform,
       l.dataset, l.median_ns, l.interval_low_ns, l.interval_high_ns, m.code_sha256, k.text AS code
FROM latency l JOIN model m ON m.id = l.model_id JOIN code k ON k.sha256 = m.code_sha256
WHERE (CAST(:campaign AS text) IS NULL OR l.campaign = :campaign) AND l.median_ns > 0
  AND l.verdict = ANY(CAST(:verdicts AS text[]))
ORDER BY l.created_at DESC
"""
