"""`nnlite sustained`: latency over time of continuous inference."""

import typer

from nnlite.cli.actions.session import reading
from nnlite.cli.parsing import options
from nnlite.cli.presenting.output import note, paged, print_json, print_table
from nnlite.cli.presenting.presentation import milliseconds, shorten, telling
from nnlite.results import profiles
from nnlite.results.reading import Row, check_campaign, check_models

app = typer.Typer()
_COLUMNS = (
    "model", "precision", "device", "backend", "threads", "s", "first ms", "plateau ms", "change",
    "slower after s", "shape", "error",
)  # fmt: skip
_OPTIONAL = ("shape", "threads", "precision", "backend", "device", "s")


@app.command()
def sustained(
    name: options.OptionalCampaign = None,
    model: options.Like = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """Show first level and plateau of the latency, for measurements made with --sustained.

    SQL: the views sustained, and sustained_series with the latency of each second.

    Example: nnlite run BagNet --sustained 300 --name hot && nnlite sustained hot
    """
    with reading() as database:
        check_campaign(database, name)
        no_model = check_models(database, model, name)
        rows = profiles.passes(database, name, model)
    if json:
        print_json(rows)
    elif rows:
        with paged(wide=wide):
            columns = telling(_COLUMNS, rows, "error")
            print_table([sustained_row(row) for row in rows], columns, optional=_OPTIONAL, wide=wide)
    if not rows:
        made_by = "nnlite run --sustained SECONDS and nnlite submit make them"
        note(no_model or f"no pass of continuous inference; {made_by}")


def sustained_row(row: Row) -> Row:
    """Format one pass for people."""
    first_ns, plateau_ns, slower_ns = row["first_level_ns"], row["plateau_ns"], row["slower_after_ns"]
    return row | {
        "s": row["seconds"],
        "first ms": milliseconds(first_ns),
        "plateau ms": milliseconds(plateau_ns),
        "change": None if not first_ns else f"{plateau_ns / first_ns - 1:+.0%}",
        "slower after s": None if slower_ns is None else round(slower_ns / 1e9),
        "error": shorten(row["error"] or ""),
    }
