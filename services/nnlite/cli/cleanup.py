"""`nnlite delete` and `nnlite gc`: delete campaigns, and what no campaign needs any more."""

from typing import Annotated, Any

import typer

from nnlite.cli.actions.session import session
from nnlite.cli.parsing import options
from nnlite.cli.presenting.output import confirmed, count, note, print_table
from nnlite.cli.presenting.presentation import size
from nnlite.results import queries
from nnlite.results.reading import check_campaign

app = typer.Typer()

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command()
def delete(name: options.Campaign, yes: Yes = False) -> None:
    """Delete a campaign that has ended, with its results; asks before.

    Artifacts stay, because other campaigns may use them: nnlite gc deletes those that none needs.

    Example: nnlite delete night && nnlite gc
    """
    from nnlite.artifacts.store import open_store
    from nnlite.campaigns import control

    with session() as cluster:
        check_campaign(cluster.engine, name)
        (progress,) = queries.campaigns(cluster.engine, name)
        what = f"campaign {name}: {count(progress.models, 'model')}, {progress.measured:,} measured"
        if not confirmed(f"Delete {what}, with all results?", yes=yes):
            note("nothing was deleted")
            raise typer.Exit(1)
        control.delete(cluster.engine, open_store(cluster.settings), name)
    note(f"deleted {what}")


@app.command()
def gc(
    files: Annotated[
        bool,
        typer.Option(
            "--unknown-files",
            help="Also files of the store that no row names, older than a day. Not where databases share it.",
        ),
    ] = False,
    yes: Yes = False,
) -> None:
    """Delete artifacts and models that no campaign needs; lists them with their sizes and asks before.

    Workers may go on. What is needed later is converted again.

    Example: nnlite gc --yes
    """
    from nnlite.artifacts.store import open_store
    from nnlite.campaigns.garbage import delete_garbage, find_garbage

    with session() as cluster:
        store = open_store(cluster.settings)
        found = find_garbage(cluster.engine, store if files else None)
        if not found:
            note("nothing to delete: every artifact is needed by a campaign")
            return
        rows: list[dict[str, Any]] = [
            {
                "what": "artifacts that no campaign needs",
                "number": len(found.artifacts),
                "bytes": found.artifact_bytes,
            },
            {"what": "models in no campaign", "number": found.models, "bytes": None},
            {"what": "files that no row names", "number": len(found.files), "bytes": found.file_bytes},
        ]
        shown = [
            row | {"size": None if row["bytes"] is None else size(row["bytes"])}
            for row in rows
            if row["number"]
        ]
        print_table(shown, ("what", "number", "size"))
        if not confirmed(f"Delete them from {store.url}?", yes=yes):
            note("nothing was deleted")
            raise typer.Exit(1)
        deleted = delete_garbage(cluster.engine, store, found)
    kept = len(found.artifacts) - deleted
    parts = [
        count(deleted, "artifact"),
        count(found.models, "model"),
        *([count(len(found.files), "file")] if found.files else []),
    ]
    needed = f"; {count(kept, 'artifact')} meanwhile needed again" if kept else ""
    note(f"deleted: {', '.join(parts)}, {size(found.artifact_bytes + found.file_bytes)}{needed}")
