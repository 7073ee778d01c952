"""`nnlite verify`: derives stored results again from their raw data, and says what differs."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from nnlite.artifacts.store import open_store
from nnlite.cli.actions.session import session
from nnlite.cli.parsing import options
from nnlite.cli.presenting.output import count, err, out, print_json, print_table, say
from nnlite.diagnostics.verify import Outcome, Verified
from nnlite.diagnostics.verify import verify as verify_rows
from nnlite.results.verification import digests, selected

app = typer.Typer()

COLUMNS = ("model", "precision", "pool", "backend", "threads", "run", "row", "field", "stored", "derived")
OPTIONAL = ("threads", "run", "backend", "pool", "precision")
#: Longest value in the table; JSON has it complete.
_LONGEST = 40
#: Digits of an id in the table, enough to name the row.
_ID_DIGITS = 8


@app.command("verify")
def verify(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="CAMPAIGN|ROW",
            help="Name of a campaign, or id of a benchmark or measurement (its first six digits or more); "
            "none: everything.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Derive results again from the raw samples stored, and compare: every difference is an error.

    Statistics, shape, verdict, reasons and cause of noise are derived from the samples of each measurement
    with the settings stored, parity of a device from its outputs. Columns are compared with the report, both
    with the manifest, and the files in the store with their hashes. Exit code 1 if anything differs.

    The digest of a campaign is of all its manifests: the same digest, the same results. What cannot be
    derived is said: measurements of releases without manifests, statistics whose samples were thinned.

    Examples:

    - `nnlite verify night`
    - `nnlite verify 3f2a91c0 --json`
    """
    with session() as cluster:
        selection = selected(cluster.engine, target)
        rows: list[Verified] = []
        with err.status("") as status:
            for row in verify_rows(cluster.engine, open_store(cluster.settings), selection):
                rows.append(row)
                status.update(f"verified {count(len(rows), 'measurement')}")
        of_whole = selection.measurement is None and selection.benchmark is None
        known = digests(cluster.engine) if of_whole else {}
    names = list(dict.fromkeys([*(row.campaign for row in rows), *filter(None, [selection.campaign])]))
    by_campaign = {name: [row for row in rows if row.campaign == name] for name in names}
    if json:
        print_json(_campaign(name, of_it, known.get(name)) for name, of_it in by_campaign.items())
    else:
        _print(by_campaign, known)
    if any(row.outcome is Outcome.DIFFERENT for row in rows):
        raise typer.Exit(1)


def _campaign(name: str, rows: list[Verified], digest: str | None) -> dict[str, Any]:
    counts = Counter(row.outcome for row in rows)
    return {
        "campaign": name,
        "digest": digest,
        **{outcome.replace(" ", "_"): counts[outcome] for outcome in Outcome},
        "measurements": [asdict(row) for row in rows],
    }


def _print(by_campaign: dict[str, list[Verified]], known: dict[str, str | None]) -> None:
    if different := list(_rows(row for rows in by_campaign.values() for row in rows)):
        print_table(different, COLUMNS, title="Not as derived", optional=OPTIONAL)
    if not by_campaign:
        out.print("there is no measurement yet", highlight=False)
    for name, rows in by_campaign.items():
        counts = Counter(row.outcome for row in rows)
        parts = [f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome]]
        say(f"{name}: {', '.join(parts) or 'no measurement yet'}")
        for note, number in Counter(note for row in rows for note in row.notes).items():
            say(f"  {number} {note}")
        if digest := known.get(name):
            out.print(f"  digest {digest}", highlight=False, soft_wrap=True)


def _rows(rows: Iterable[Verified]) -> Iterable[dict[str, Any]]:
    for row in rows:
        for difference in row.differences:
            yield vars(row) | {
                "row": str(row.measurement)[:_ID_DIGITS],
                "field": difference.field,
                "stored": _short(difference.stored),
                "derived": _short(difference.derived),
            }


def _short(value: Any) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
