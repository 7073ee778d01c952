"""`nnlite profile`: the times of a model's operators."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Annotated

import typer

from nnlite.cli.actions.session import reading
from nnlite.cli.parsing import options
from nnlite.cli.presenting.output import count, note, paged, print_json, print_table
from nnlite.cli.presenting.presentation import milliseconds
from nnlite.results import profiles
from nnlite.results.reading import Row, check_campaign, check_models

app = typer.Typer()
_COLUMNS = ("index", "node", "type", "operator", "delegate", "ms", "share")
_TYPE_COLUMNS = ("type", "delegate", "operators", "ms", "share")


@app.command()
def profile(
    name: options.OptionalCampaign = None,
    model: options.Like = None,
    by_type: Annotated[bool, typer.Option("--by-type", help="Sums of each type of operator.")] = False,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """Show the time of each operator, for measurements made with --profile.

    Operators are those of the runtime, in order of execution; type and node are those of the artifact, empty
    where it cannot be told which node an operator belongs to.

    Example: nnlite run BagNet --profile --name layers && nnlite profile layers --by-type
    """
    with reading() as database:
        check_campaign(database, name)
        no_model = check_models(database, model, name)
        rows = profiles.operators(database, name, model, by_type=by_type)
        missing = profiles.missing(database, name, model)
    if json:
        print_json(rows)
    else:
        with paged(wide=wide):
            for _, group in groupby(rows, key=itemgetter(*profiles.KEY)):
                of_profile = list(group)
                print_table(
                    [profile_row(row) for row in of_profile],
                    _TYPE_COLUMNS if by_type else _COLUMNS,
                    title=title(of_profile),
                    optional=("node", "delegate", "index"),
                    wide=wide,
                )
    for row in missing:
        note(f"{row['measurements']} not profiled: {row['error']}")
    if not rows and not missing:
        note(no_model or "no profile; nnlite run --profile and nnlite submit --profile make them")


def title(rows: Sequence[Row]) -> str:
    """Return what a profile is of, its inference's time, and how much of it the operators are."""
    first = rows[0]
    threads = count(first["threads"], "thread")
    what = " ".join((first["model"], first["precision"], "on", first["device"], first["backend"], threads))
    share = sum(row["time_ns"] for row in rows) / first["inference_ns"] if first["inference_ns"] else 0
    return (
        f"{what}: {milliseconds(first['inference_ns'])} ms with the profiler, "
        f"{milliseconds(first['median_ns']) or '-'} ms without; operators are {share:.0%} of it"
    )


def profile_row(row: Row) -> Row:
    """Format one operator, or the sum of a type, for people."""
    shown = {"ms": milliseconds(row["time_ns"]), "share": f"{row['share']:.1%}", "operator": row.get("name")}
    return row | shown
