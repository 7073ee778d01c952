"""`nnlite atlas`: which operators are converted, in which precision."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated

import typer

from nnlite.cli.actions.session import reading
from nnlite.cli.parsing import options
from nnlite.cli.parsing.completion import complete_precisions
from nnlite.cli.parsing.words import chosen, words
from nnlite.cli.presenting.output import listed, note, print_json, print_table
from nnlite.errors import NnliteError, UsageError, did_you_mean, is_pattern
from nnlite.results import operators
from nnlite.results.operators import STATES
from nnlite.results.reading import Row
from nnlite.vocabulary import Precision

app = typer.Typer()
_OPERATORS = ("operator", "precision", "suite", "models")
_CASES = ("operator", "variant", "precision", "state", "reason")


@app.command()
def atlas(
    operator: Annotated[
        str | None, typer.Argument(help="Only operators like this, such as `conv*` or `aten.conv2d`.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these precisions; with commas, or repeated.", autocompletion=complete_precisions
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help=f"Only these states, likewise: {', '.join(STATES)}."),
    ] = None,
    cases: Annotated[
        bool, typer.Option("--cases", help="Each case of the suite, with the reason why it is not ok.")
    ] = False,
    top: options.Top = None,
    json: options.Json = False,
) -> None:
    """Show which operators are converted, by precision.

    "suite" counts networks of this operator alone, in many ranks, strides, modes and types, which were
    converted when nnlite was made; "models" counts everything converted here. A model that cannot be
    converted counts for the operator that is to blame, as refused; one whose parity is off for each of its
    operators.

    Examples:

    - `nnlite atlas 'upsample*'`
    - `nnlite atlas --state refused --cases`
    """
    precisions, states = chosen(Precision, "--precision", precision), words(state)
    if unknown := next((word for word in states if word not in STATES), None):
        raise UsageError(f"--state {unknown!r} is none of {', '.join(STATES)}")
    tried = [row for row in operators.cases() if _wanted(row, operator, precisions, states)]
    converted: list[Row] = []
    if cases:
        rows = tried
    else:
        with reading() as database:
            converted = operators.support(database)
        wanted = [row for row in converted if _wanted(row, operator, precisions, states)]
        rows = operators.atlas(tried, wanted)
    if not rows:
        _check_operator(operator, [row["operator"] for row in [*operators.cases(), *converted]])
        note("no operator like this was tried or converted; without arguments all are listed")
    if json:
        print_json(rows)
    elif rows and cases:
        print_table(listed(rows, top), _CASES, optional=("variant",))
    elif rows:
        print_table(listed(operators.table(rows), top), _OPERATORS)


def _check_operator(operator: str | None, known: Iterable[str]) -> None:
    """Check that an operator that is named, not a pattern, was tried or converted."""
    names = sorted({name for each in known for name in (each, each.rpartition(".")[2])})
    if operator is not None and operator not in names and not is_pattern(operator):
        raise NnliteError(f"no operator {operator!r} was tried or converted{did_you_mean(operator, names)}")


def _wanted(row: Row, operator: str | None, precisions: Sequence[Precision], states: Sequence[str]) -> bool:
    name = row["operator"]
    return (
        (operator is None or fnmatchcase(name, operator) or fnmatchcase(name.rpartition(".")[2], operator))
        and (not precisions or row["precision"] in precisions)
        and (not states or row["state"] in states)
    )
