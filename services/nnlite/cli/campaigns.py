"""Campaign commands: watch, status, describe, retry, cancel, rename, pause, resume."""

import shlex
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from nnlite.cli.actions.session import interruptible, reading, session
from nnlite.cli.parsing import options
from nnlite.cli.parsing.completion import complete_models
from nnlite.cli.presenting import presentation
from nnlite.cli.presenting.output import count, listed, note, out, paged, print_json, print_table
from nnlite.errors import UsageError
from nnlite.results import queries
from nnlite.results.reading import Row, check_campaign
from nnlite.vocabulary import CampaignState, WorkState

if TYPE_CHECKING:
    from nnlite.results.reading import Reads

app = typer.Typer()
#: Of a campaign that has ended, and is paused or cancelled even so.
_NOTHING_LEFT = "nothing of it was queued or running"
#: Campaigns of which nothing runs that `status` explains.
_MOST_STUCK = 3

Models = Annotated[
    list[str] | None,
    typer.Argument(metavar="MODEL", help="Names of models; none: all.", autocompletion=complete_models),
]


@app.command()
def watch(name: options.Campaign) -> None:
    """Show a campaign's progress until it has ended; Ctrl-C leaves it running."""
    from nnlite.cli.presenting import watch as watching
    from nnlite.cli.presenting.waiting import Explainer
    from nnlite.cli.results import print_verdicts
    from nnlite.queue.messages import EndedAttempts

    with (
        interruptible(f"{name} goes on; watch it again: nnlite watch {shlex.quote(name)}"),
        session() as cluster,
    ):
        check_campaign(cluster.engine, name)
        explain = Explainer(cluster.engine, cluster.broker, cluster.settings.home)
        with closing(EndedAttempts(cluster.broker)) as ended:
            progress = watching.watch(cluster.engine, name, explain=explain, wait=ended.wait)
        verdicts = queries.verdicts(cluster.engine, name)
    note(watching.summary(progress))
    print_verdicts(verdicts, name)


@app.command()
def status(
    name: options.OptionalCampaign = None,
    top: options.Top = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """List campaigns and how far they are, newest first.

    With --json, also what each of them is running now: model, device, backend, stage.
    """
    with reading() as database:
        check_campaign(database, name)
        campaigns = queries.campaigns(database, name)
        stuck = [] if json else _stuck(database, campaigns)
        running = {progress.name: _running(database, progress) for progress in campaigns} if json else {}
    if json:
        print_json([progress.as_dict() | {"running": running[progress.name]} for progress in campaigns])
        return
    with paged(wide=wide):
        rows = [presentation.campaign_row(progress) for progress in listed(campaigns, top)]
        columns = presentation.telling(presentation.CAMPAIGN_COLUMNS, rows, "refused", "skipped")
        if len({row["by"] for row in rows}) < 2:
            columns.remove("by")
        if rows:
            print_table(rows, columns, optional=("skipped", "converted"), wide=wide)
    if not campaigns:
        note("no campaign yet")
    for line in stuck:
        note(line)


@app.command()
def describe(
    name: options.Campaign,
    json: options.Json = False,
    toml: Annotated[bool, typer.Option("--toml", help="A campaign file that asks for the same.")] = False,
) -> None:
    """Show what a campaign was asked for, as the command that submits the same; --json: settings too.

    Example: nnlite describe night --toml > night.toml && nnlite submit night.toml
    """
    from nnlite.campaigns.request import as_arguments, as_toml

    with reading() as database:
        check_campaign(database, name)
        row = queries.description(database, name)
        (progress,) = queries.campaigns(database, name)
    if json:
        print_json([row])
        return
    if toml:
        text = as_toml(row["request"], name=row["name"], priority=row["priority"])
        out.print(text, end="", highlight=False, soft_wrap=True)
        return
    arguments, problem = as_arguments(row["request"]), row["hooks_problem"]
    by = f" by {row['submitted_by']}" if row["submitted_by"] else ""
    print_table(
        [
            {"name": "campaign", "value": row["name"]},
            {"name": "submitted", "value": f"{row['created_at']:%Y-%m-%d %H:%M:%S %Z}{by}"},
            {"name": "state", "value": progress.state},
            {"name": "models", "value": row["models"]},
            {"name": "priority", "value": row["priority"]},
            *([{"name": "hooks", "value": f"failed: {problem}"}] if problem else []),
            {"name": "the same again", "value": " ".join(["nnlite submit", *arguments])},
        ],
        ("name", "value"),
    )


@app.command()
def retry(
    name: options.Campaign,
    models: Models = None,
    failed: Annotated[bool, typer.Option("--failed", help="Also rows that failed for good.")] = False,
    cancelled: Annotated[bool, typer.Option("--cancelled", help="Also cancelled rows.")] = False,
    noisy: Annotated[
        bool,
        typer.Option("--noisy", help="Only this: measure again what is noisy or throttled at its best."),
    ] = False,
) -> None:
    """Queue quarantined work again with its counters at zero; history stays."""
    from nnlite.campaigns import control

    if noisy:
        if models or failed or cancelled:
            raise UsageError("--noisy measures results again; leave --failed, --cancelled and names out")
        with session() as cluster:
            number = control.retry_noisy(cluster.engine, cluster.broker, name)
        none = f"; no result of {name} is noisy or throttled, but for those that wait for another run"
        note(f"measured again: {number}{'' if number else none}")
        return
    states = [WorkState.QUARANTINED]
    states += [WorkState.FAILED] if failed or models else []
    states += [WorkState.CANCELLED] if cancelled else []
    with session() as cluster:
        number = control.retry(cluster.engine, cluster.broker, name, states, models or ())
    note(f"queued again: {number}")


@app.command()
def cancel(name: options.Campaign) -> None:
    """Cancel a campaign: queued and running work becomes cancelled; results stay."""
    from nnlite.campaigns import control

    with session() as cluster:
        number = control.cancel(cluster.engine, name)
    work = count(number, "conversion or benchmark", "conversions and benchmarks") if number else None
    note(f"cancelled {name}: {work or f'{_NOTHING_LEFT}; it takes no more work'}")


@app.command()
def rename(
    name: options.Campaign,
    new: Annotated[str, typer.Argument(metavar="NAME", help="Another name, which no campaign has.")],
) -> None:
    """Give a campaign another name.

    Its request stays: submitted again without --name, it is a new campaign.

    Example: nnlite rename lemur-20-15cbcbd4 first-look
    """
    from nnlite.campaigns import control

    with session() as cluster:
        control.rename(cluster.engine, name, new)
    note(f"renamed {name} to {new}")


@app.command()
def pause(name: options.Campaign) -> None:
    """Pause a campaign: no new work starts, running work ends normally."""
    from nnlite.campaigns import control

    with session() as cluster:
        left = control.pause(cluster.engine, name)
    ended = "" if left else f", but {_NOTHING_LEFT}"
    note(f"paused {name}{ended}; continue with: nnlite resume {shlex.quote(name)}")


@app.command()
def resume(name: options.Campaign) -> None:
    """Resume a paused campaign."""
    from nnlite.campaigns import control

    with session() as cluster:
        sent = control.resume(cluster.engine, cluster.broker, name)
    note(f"resumed {name}" + ("" if sent else "; work starts when the broker is back"))


def _stuck(database: "Reads", campaigns: Sequence[queries.Progress]) -> list[str]:
    """Return what campaigns wait for of which nothing is running; asks the workers only then."""
    waiting = [
        each
        for each in campaigns
        if each.state == CampaignState.ACTIVE and not (each.converting or each.measuring)
    ][:_MOST_STUCK]
    if not waiting:
        return []
    from nnlite.cli.actions.session import served_queues
    from nnlite.cli.presenting.waiting import lines_for
    from nnlite.settings import load_settings

    served, home = served_queues(), load_settings().home
    return [
        f"{each.name}: {line}" for each in waiting for line in lines_for(database, each.name, served, home)
    ]


def _running(database: "Reads", progress: queries.Progress) -> list[Row]:
    works = progress.converting + progress.measuring
    return queries.running(database, progress.name) if works else []
