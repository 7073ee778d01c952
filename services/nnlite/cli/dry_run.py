"""`--dry-run` of `nnlite submit` and `nnlite run`: prints what a request would take and submits nothing."""

from nnlite.campaigns.estimate import Estimate, estimate
from nnlite.campaigns.request import Request, check_models, check_name, check_same
from nnlite.cli import selection
from nnlite.cli.output import count, note, print_table
from nnlite.cli.presentation import duration, size
from nnlite.results import queries
from nnlite.results.reading import Database, open_reader, rows_of
from nnlite.settings import load_settings


def dry_run(request: Request, name: str | None, converters: int = 1) -> None:
    """Print an estimate of a request.

    Args:
        converters: conversions at a time.

    Raises:
        NnliteError: the request would be refused.
    """
    from nnlite.db.reader import NoDatabase

    settings = load_settings()
    models, _ = selection.resolve(request, settings)
    check_models(models)
    with open_reader(settings) as reader:
        database = reader or NoDatabase()
        known = _known(database, check_name(request.default_name() if name is None else name), request)
        found = estimate(database, request, models)
    print_table(
        [
            {"name": "campaign", "value": known},
            {"name": "models", "value": _models(found)},
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
    note("nothing was submitted (--dry-run)")


def _known(database: Database, name: str, request: Request) -> str:
    """Return the campaign's name, and what is there of it."""
    stored = rows_of(database, "SELECT request FROM campaign WHERE name = :name", {"name": name})
    if not stored:
        return f"{name}, new"
    check_same(name, request, stored[0]["request"])
    (progress,) = queries.campaigns(database, name)
    return f"{name}, resumed: {progress.finished:,} of {count(progress.models, 'model')} finished"


def _models(found: Estimate) -> str:
    return f"{found.models:,}" + (f", and {found.skipped:,} that would be skipped" if found.skipped else "")


def _conversion(found: Estimate, converters: int) -> str:
    return f"about {duration(found.conversion_s / converters)} by {count(converters, 'converter')}"


def _measurement(found: Estimate, request: Request) -> str:
    devices = "one device" if len(request.pools) == 1 else "one device of each pool"
    number = count(found.measurements, "measurement")
    return f"about {duration(found.measurement_s)} by {devices}: {number}"


def _basis(found: Estimate) -> str:
    if found.basis:
        return f"{found.basis:,} conversions and measurements of this installation"
    return "figures of nnlite's documents: too little was measured here to tell"
