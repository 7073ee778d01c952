"""`nnlite effects`: which settings of an architecture change its latency."""

from typing import Annotated

import typer

from nnlite.cli.actions.session import reading
from nnlite.cli.parsing import options
from nnlite.cli.parsing.words import chosen
from nnlite.cli.presenting.output import count, listed, note, paged, print_json, print_table
from nnlite.cli.presenting.presentation import milliseconds
from nnlite.results.effects import KEY, effects
from nnlite.results.reading import Row, check_campaign
from nnlite.vocabulary import Verdict

app = typer.Typer()
_COLUMNS = ("architecture", *KEY, "setting", "faster", "slower", "ms", "slower ms", "factor", "changed")
#: What a narrow terminal hides, and what is shown only where it differs.
_OPTIONAL = ("pool", "precision", "threads", "mode", "backend", "device", "changed")


@app.command("effects")
def effects_command(
    name: options.OptionalCampaign = None,
    verdict: Annotated[
        list[str] | None,
        typer.Option(help="Compare results with these verdicts; with commas, or repeated [default: valid]."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--every", help="Also settings that change nothing beyond the intervals.")
    ] = False,
    top: options.Top = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """Show which settings change the latency of an architecture by more than its interval.

    Compares configurations of one architecture (--configs of submit and run, or hyperparameters that NN-GPT
    proposes) on one device in one mode: settings are hyperparameters that its code reads, transform and data
    set. Two configurations that differ in one setting alone tell its effect; a + b differ only together.
    factor is how much slower the slower value is, changed for how many of the pairs each latency is outside
    of the other's interval.

    Examples:

    - `nnlite run VisionTransformer --configs 5 --name heads`
    - `nnlite effects heads`
    """
    verdicts = chosen(Verdict, "--verdict", verdict) or (Verdict.VALID,)
    with reading() as database:
        check_campaign(database, name)
        found = effects(database, name, verdicts)
    shown = found if every else [row for row in found if row["changed"]]
    if json:
        print_json(shown)
        return
    telling = [column for column in _COLUMNS if column not in KEY or len({row[column] for row in shown}) > 1]
    if shown:
        with paged(wide=wide):
            rows = listed([effect_row(row) for row in shown], top)
            print_table(rows, telling, optional=_OPTIONAL, wide=wide)
    if not found:
        note("no architecture has results of two configurations on one device; see --configs of nnlite run")
    elif not every and len(shown) < len(found):
        without = count(len(found) - len(shown), "setting")
        note(f"without an effect beyond the intervals: {without}; --every shows them")


def effect_row(row: Row) -> Row:
    """Format one effect for people."""
    return row | {
        "ms": milliseconds(row["faster_ns"]),
        "slower ms": milliseconds(row["slower_ns"]),
        "factor": f"{row['factor']:.2f}",
        "changed": f"{row['changed']} of {row['pairs']}",
    }
