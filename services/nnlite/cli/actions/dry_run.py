"""`--dry-run` of `nnlite submit` and `nnlite run`: prints what a request would take and submits nothing.

Also the question before a request takes all models of a source.
"""

from collections.abc import Sequence
from dataclasses import replace

from nnlite.campaigns.estimate import Estimate, estimate
from nnlite.campaigns.request import Request, check_same
from nnlite.catalog.model import CatalogModel
from nnlite.cli.parsing import selection
from nnlite.cli.presenting.output import confirmed, count, note, print_table
from nnlite.cli.presenting.presentation import duration, size
from nnlite.results import queries
from nnlite.results.reading import Database, open_reader, rows_of
from nnlite.settings import Settings, load_settings

_STORED = "SELECT request FROM campaign WHERE name = :name"


def dry_run(request: Request, name: str | None, priority: int, converters: int = 1) -> None:
    """Print an estimate of a request.

    Raises:
        NnliteError: the request would be refused.
    """
    # The store that they know takes longer to import than the help of a command takes to print.
    from nnlite.campaigns.checks import absent_backends, absent_pools, check_request

    settings = load_settings()
    models, _ = selection.resolve(request, settings)
    name = request.default_name() if name is None else name
    unstored = replace(
        request, calibration=None
    )  # samples are not in the store: whether they fit is not known
    check_request(unstored, models, name=name, priority=priority, settings=settings)
    with open_reader(settings) as database:
        known = _known(database, name, request)
        found = estimate(database, request, models, settings)
        warnings = [*absent_pools(database, request), *absent_backends(database, request)]
    skipped = f", and {found.skipped:,} that would be skipped" if found.skipped else ""
    print_table(
        [
            {"name": "campaign", "value": known},
            {"name": "models", "value": f"{found.models:,}{skipped}"},
            {
                "name": "converted already",
                "value": f"{found.converted:,} of {count(found.artifacts, 'artifact')}",
            },
            {"name": "conversion", "value": _conversion(found, converters)},
            {"name": "measurement", "value": _measurement(found, request)},
            {"name": "disk", "value": f"about {size(found.size_bytes)} more"},
            {"name": "estimated from", "value": _basis(found)},
        ],
        ("name", "value"),
    )
    for warning in warnings:
        note(f"warning: {warning}")
    note("nothing was submitted (--dry-run)")


def confirmed_all(
    request: Request, models: Sequence[CatalogModel], name: str, settings: Settings, converters: int
) -> bool:
    """Return whether the user wants all models of a source; a campaign that is there is only resumed.

    Raises:
        UsageError: nobody can be asked.
        NnliteError: the database cannot be used.
    """
    with open_reader(settings) as database:
        if rows_of(database, _STORED, {"name": name}):
            return True
        found = estimate(database, request, models, settings)
    return confirmed(
        f"Nothing chooses models, so all {found.models:,} of {request.source} are taken: conversion "
        f"{_conversion(found, converters)}, measurement {_measurement(found, request)}, "
        f"{size(found.size_bytes)} of disk. Names, --match and --limit choose some. Take all?",
        yes=False,
    )


def _known(database: Database, name: str, request: Request) -> str:
    """Return the campaign's name, and what is there of it."""
    stored = rows_of(database, _STORED, {"name": name})
    if not stored:
        return f"{name}, new"
    check_same(name, request, stored[0]["request"])
    (progress,) = queries.campaigns(database, name)
    return f"{name}, resumed: {progress.finished:,} of {count(progress.models, 'model')} finished"


def _conversion(found: Estimate, converters: int) -> str:
    evaluated = f" with {count(found.host_evaluations, 'evaluation')}" if found.host_evaluations else ""
    return f"about {duration(found.conversion_s / converters)} by {count(converters, 'converter')}{evaluated}"


def _measurement(found: Estimate, request: Request) -> str:
    devices = "one device" if len(request.pools) == 1 else "one device of each pool"
    number = count(found.measurements, "measurement")
    if found.evaluations:
        number += f" and {count(found.evaluations, 'evaluation')}"
    return f"about {duration(found.measurement_s)} by {devices}: {number}"


def _basis(found: Estimate) -> str:
    if found.basis:
        return f"{found.basis:,} conversions and measurements of this installation"
    return "figures of nnlite's documents: too little was measured here to tell"
