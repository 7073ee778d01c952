"""Ranks the models of a campaign by accuracy and latency, as far as there are results.

Compared are only results of one task, dataset, pool, precision, backend, number of threads and mode. Accuracy
is that of the artifacts on labelled samples where all of them were evaluated on the same ones, else that of
training, which says nothing about what a precision costs.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson

from nnlite.results.pareto import Point, contributions, fronts, hypervolume
from nnlite.results.queries import campaigns, failures
from nnlite.results.reading import Database, Row, check_campaign, rows_of
from nnlite.vocabulary import Verdict

#: What the results of one group have in common.
KEY = ("task", "dataset", "pool", "precision", "backend", "threads", "mode")
#: Where no reference is named it is this much above the slowest result, so that the slowest counts too.
_REFERENCE_MARGIN = 1.1


@dataclass(frozen=True, kw_only=True)
class RankOptions:
    """What a campaign's models are ranked with."""

    #: Campaigns whose models may dominate those that are ranked, and are not listed themselves.
    against: tuple[str, ...] = ()
    #: Latency at which the hypervolume ends; None: 1.1 times the slowest of a group.
    reference_ms: float | None = None
    #: Verdicts of results that are ranked; others are listed without a rank.
    verdicts: tuple[Verdict, ...] = (Verdict.VALID,)


def ranking(database: Database, campaign: str, options: RankOptions | None = None) -> Row:
    """Return the ranking of a campaign as JSON values: groups, and what has no result yet.

    Raises:
        CampaignError: no campaign is named so.
    """
    options = options or RankOptions()
    for name in (campaign, *options.against):
        check_campaign(database, name)
    seen = version(database, campaign)
    (progress,) = campaigns(database, campaign)
    rows = rows_of(database, _RESULTS, {"names": [campaign, *options.against]})
    return {
        "campaign": campaign,
        "version": seen,
        "ended": progress.ended,
        "models": progress.models,
        "waiting": [row["name"] for row in rows_of(database, _WAITING, {"name": campaign})],
        "groups": groups(rows, campaign, options),
        "without_result": [
            {name: row[name] for name in ("model", "precision", "work", "state", "reason")}
            for row in failures(database, campaign)
        ],
    }


def version(database: Database, campaign: str) -> str:
    """Return a text that changes whenever a result comes, or the state of the campaign's work changes."""
    rows = rows_of(database, _STATES, {"name": campaign})
    return hashlib.sha256(orjson.dumps(rows, default=str)).hexdigest()[:16]


def groups(rows: Iterable[Row], campaign: str, options: RankOptions) -> list[Row]:
    """Return the groups of results, each with the rows of `campaign`: the ranked ones first."""
    found = []
    for key, group in groupby(sorted(rows, key=_order), key=itemgetter(*KEY)):
        named = dict(zip(KEY, key, strict=True))
        of_group = list(group)
        if any(row["campaign"] == campaign for row in of_group):
            found.append(named | _group(of_group, campaign, options))
    return found


def _order(row: Row) -> tuple[Any, ...]:
    return (*(row[name] or "" if name != "threads" else row[name] for name in KEY), row["model"])


def _group(rows: Sequence[Row], campaign: str, options: RankOptions) -> Row:
    evaluated = _evaluated(rows)
    if evaluated:
        rows = [row | {"accuracy": row["top1"]} for row in rows]
    ranked = [row for row in rows if _is_ranked(row, options)]
    points = [Point(row["median_ns"], row["accuracy"]) for row in ranked]
    slowest_ns = max((point.latency_ns for point in points), default=0)
    reference_ns = options.reference_ms * 1e6 if options.reference_ms else slowest_ns * _REFERENCE_MARGIN
    numbers, added = fronts(points), contributions(points, reference_ns)
    scored = [
        _listed(row) | {"front": front, "pareto": front == 1, "hypervolume_contribution": share}
        for row, front, share in zip(ranked, numbers, added, strict=True)
        if row["campaign"] == campaign
    ]
    scored.sort(key=lambda row: (row["front"], -row["hypervolume_contribution"], row["latency_ms"]))
    others = [
        _listed(row) | {"front": None, "pareto": None, "hypervolume_contribution": None, "rank": None}
        for row in rows
        if row["campaign"] == campaign and not _is_ranked(row, options)
    ]
    return {
        "accuracy_of": "evaluation" if evaluated else "training",
        "reference_ms": reference_ns / 1e6 if points else options.reference_ms,
        "hypervolume": hypervolume(points, reference_ns),
        "results": [row | {"rank": rank} for rank, row in enumerate(scored, 1)] + others,
    }


def _evaluated(rows: Sequence[Row]) -> bool:
    """Return whether the artifacts of all results were evaluated, on the same samples."""
    samples = {(row["evaluation_data"], row["evaluation_seed"], row["evaluated_samples"]) for row in rows}
    return len(samples) == 1 and all(row["top1"] is not None for row in rows)


def _is_ranked(row: Row, options: RankOptions) -> bool:
    return bool(row["median_ns"]) and row["accuracy"] is not None and row["verdict"] in options.verdicts


def _listed(row: Mapping[str, Any]) -> Row:
    """Return a result as it is listed: with its verdict, and no latency that must not be used."""
    names = ("model", "verdict", "reasons", "noise_cause", "error", "accuracy", "parameters", "parity_state")
    median_ns = None if row["verdict"] == Verdict.INVALID else row["median_ns"]
    low_ns, high_ns = (row[name] if median_ns else None for name in ("interval_low_ns", "interval_high_ns"))
    return {name: row[name] for name in names} | {
        "latency_ms": _milliseconds(median_ns),
        "latency_low_ms": _milliseconds(low_ns),
        "latency_high_ms": _milliseconds(high_ns),
    }


def _milliseconds(duration_ns: float | None) -> float | None:
    return None if duration_ns is None else duration_ns / 1e6


_RESULTS = """
SELECT campaign, model, task, dataset, pool, precision, backend, threads, mode, verdict, reasons, noise_cause,
       error, accuracy, top1, evaluation_data, evaluation_seed, evaluated_samples, parameters,
       parity_state, median_ns, interval_low_ns, interval_high_ns
FROM latency WHERE campaign = ANY(CAST(:names AS text[]))
"""
_WAITING = """
SELECT DISTINCT m.name
FROM conversion v JOIN campaign c ON c.id = v.campaign_id JOIN model m ON m.id = v.model_id
WHERE c.name = :name AND (v.state IN ('queued', 'running') OR EXISTS (
    SELECT FROM benchmark b JOIN artifact a ON a.id = b.artifact_id
    WHERE b.campaign_id = c.id AND a.identity = v.identity AND b.state IN ('queued', 'running')
)) ORDER BY m.name
"""
# Each change of a result adds a row or changes a state; rows that are deleted change a number, too.
_STATES = """
SELECT 'conversion' AS work, v.state, count(*) AS rows, sum(v.attempt)::bigint AS attempts,
       count(m.accuracy) AS accuracies
FROM conversion v JOIN campaign c ON c.id = v.campaign_id JOIN model m ON m.id = v.model_id
WHERE c.name = :name GROUP BY v.state
UNION ALL
SELECT 'benchmark', b.state, count(*), sum(b.attempt)::bigint, 0
FROM benchmark b JOIN campaign c ON c.id = b.campaign_id WHERE c.name = :name GROUP BY b.state
ORDER BY 1, 2
"""
