"""`nnlite results` and `nnlite failures`: measurements, and what has none."""

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from itertools import groupby
from typing import Annotated

import typer

from nnlite.cli.actions.session import reading
from nnlite.cli.parsing import options
from nnlite.cli.parsing.completion import complete_models, complete_pools
from nnlite.cli.parsing.result_choice import check_columns, headings_of, sorted_rows
from nnlite.cli.parsing.words import chosen, words
from nnlite.cli.presenting import presentation
from nnlite.cli.presenting.output import listed, note, paged, print_json, print_table
from nnlite.cli.presenting.verdicts import verdict_lines
from nnlite.errors import UsageError
from nnlite.results import queries
from nnlite.results.reading import Row, check_campaign, check_models, check_pools
from nnlite.vocabulary import Precision, Verdict

app = typer.Typer()


class Format(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    REPORTS = "reports"


_choice = partial(typer.Option, rich_help_panel="Which results")
_shown = partial(typer.Option, rich_help_panel="How they are shown")


@app.command()
def results(
    name: options.OptionalCampaign = None,
    model: Annotated[
        str | None,
        _choice(help="Only models like this; `*` stands for anything.", autocompletion=complete_models),
    ] = None,
    verdict: Annotated[
        list[str] | None, _choice(help="Only these: valid, noisy, throttled, invalid.")
    ] = None,
    precision: Annotated[
        list[str] | None, _choice(help="Only these: fp32, fp16, dynamic, int8, mixed.")
    ] = None,
    pool: Annotated[
        list[str] | None, _choice(help="Only these pools.", autocompletion=complete_pools)
    ] = None,
    sort: Annotated[
        str | None,
        _shown(help="Column to sort by, such as median; -median is descending.", metavar="[-]COLUMN"),
    ] = None,
    top: options.Top = None,
    columns: Annotated[
        list[str] | None,
        _shown(help="Only these columns, such as model,median,verdict; columns of JSON too."),
    ] = None,
    wide: options.Wide = False,
    form: Annotated[
        Format,
        _shown(
            "--format",
            help="json and csv have every column; reports are the whole reports of benchmarks, as JSON.",
        ),
    ] = Format.TABLE,
    param_limit: options.ParamLimit = None,
    json: options.Json = False,
) -> None:
    """Show measurements: latency with verdict, parity and the context that explains them.

    A narrow terminal hides the least important columns, and a terminal shows 50 rows.
    Efficiency is accuracy / latency in ms, for models within --param-limit.

    Example: nnlite results night --verdict valid --sort median --top 10
    """
    named, pools = words(columns), words(pool)
    verdicts, precisions = chosen(Verdict, "--verdict", verdict), chosen(Precision, "--precision", precision)
    if form is Format.REPORTS and (verdicts or precisions or pools or sort or top or named):
        raise UsageError(
            "--format reports has every report of a campaign; leave --verdict, --precision, --pool, --sort, "
            "--top and --columns out"
        )
    if named and (json or form is not Format.TABLE):
        raise UsageError("--columns is for tables; JSON and CSV have every column")
    with reading() as database:
        check_campaign(database, name)
        check_pools(database, pools)
        if no_model := check_models(database, model, name):
            note(no_model)
        if form is Format.REPORTS:
            print_json(queries.reports(database, name, model))
            return
        rows = queries.latencies(
            database,
            name,
            model,
            param_limit,
            verdicts=verdicts,
            precisions=precisions,
            pools=pools,
        )
        checks = queries.runtime_checks(database, name, model) if form is Format.TABLE and not json else []
    check_columns(named, sort, rows)
    rows = sorted_rows(rows, sort)
    if json or form is Format.JSON:
        print_json(rows[:top] if top else rows)
    elif form is Format.CSV:
        _write_csv(rows[:top] if top else rows)
    elif not no_model:
        with paged(wide=wide):
            print_results(rows, top=top, columns=named, wide=wide)
            print_checks(checks)
        print_verdicts([{"measurements": 1} | row for row in rows], name)


def _write_csv(rows: Sequence[Row]) -> None:
    if rows:
        writer = csv.DictWriter(sys.stdout, list(rows[0]))
        writer.writeheader()
        writer.writerows(map(presentation.csv_row, rows))


def print_results(
    rows: Sequence[Row],
    title: str | None = None,
    *,
    top: int | None = None,
    columns: Sequence[str] = (),
    wide: bool = False,
) -> None:
    """Print measurements as a table.

    Args:
        top: how many; 0: all; None: as many as a person reads.
        columns: of the table or of JSON; empty: those that tell the rows apart.
    """
    if not rows:
        note("no measurement yet")
        return
    modes = sorted({row["mode"] for row in rows})
    without_energy = Counter(row["energy_error"] for row in rows if row["energy_error"])
    rows = listed(rows, top)
    shown = [presentation.result_row(row) for row in rows]
    if columns:
        print_table(shown, headings_of(columns), title=title, wide=wide)
    else:
        names = presentation.result_columns(shown)
        print_table(shown, names, title=title, optional=presentation.OPTIONAL, wide=wide)
    if len(modes) > 1:
        note(
            f"modes {', '.join(modes)}: compare rows of one mode: "
            "others ran for another time, and tails and intervals depend on it"
        )
    for reason, number in without_energy.most_common():
        note(f"{number} without energy: {reason}")


def print_verdicts(rows: Sequence[Row], campaign: str | None) -> None:
    """Print how many results have each verdict, and what would make more of them valid."""
    for line in verdict_lines(rows, campaign):
        note(line)


def print_checks(rows: Sequence[Row]) -> None:
    """Print how many artifacts the phones' runtime accepts, and a table of the others."""
    for version, checks in groupby(rows, key=lambda row: row["runtime_version"]):
        of_version = list(checks)
        counts = Counter(row["runtime_check"] for row in of_version)
        counts_text = ", ".join(f"{count} {check}" for check, count in sorted(counts.items()))
        note(f"TensorFlow Lite {version}: {counts_text}")
        if shown := [presentation.check_row(row) for row in of_version if presentation.is_listed(row)]:
            print_table(
                shown,
                presentation.CHECK_COLUMNS,
                title=f"Not accepted by TensorFlow Lite {version}",
                optional=("operator",),
            )


@app.command()
def failures(
    name: options.OptionalCampaign = None,
    top: options.Top = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """List every model and every precision without a result: class, stage, reason; skipped ones included.

    Example: nnlite failures night --top 0
    """
    with reading() as database:
        check_campaign(database, name)
        rows = queries.failures(database, name)
    if json:
        print_json(rows)
        return
    with paged(wide=wide):
        print_failures(rows, top=top, wide=wide, whole=True)
    if not rows:
        note("nothing failed")


def print_failures(
    rows: Sequence[Row],
    title: str | None = None,
    *,
    top: int | None = None,
    wide: bool = False,
    whole: bool = False,
) -> None:
    """Print failures as a table, with their whole reasons if `whole`; nothing if there is none."""
    if rows:
        shown = [presentation.failure_row(row, whole=whole) for row in listed(rows, top)]
        names = presentation.failure_columns(shown)
        print_table(shown, names, title=title, optional=presentation.OPTIONAL_OF_FAILURES, wide=wide)
