"""`nnlite submit`: queues a campaign for workers."""

import signal
from dataclasses import replace
from typing import Annotated

import typer

from nnlite.campaigns.request import Request
from nnlite.campaigns.submit import Submitted, submit
from nnlite.cli import dry_run as estimating
from nnlite.cli import follow as following
from nnlite.cli import options, selection
from nnlite.cli.campaign_file import CampaignFileCommand
from nnlite.cli.completion import complete_pools
from nnlite.cli.output import count, note
from nnlite.cli.session import Session, interruptible, session
from nnlite.cli.waiting import explanation
from nnlite.errors import UsageError
from nnlite.vocabulary import DEFAULT_PRIORITY, HOST_POOL

app = typer.Typer()


@app.command("submit", cls=CampaignFileCommand)
@selection.request_options
def submit_command(
    request: Request,
    pool: Annotated[
        list[str],
        typer.Option(
            help="Pool of devices to measure on; repeatable.",
            rich_help_panel=options.MEASURING,
            autocompletion=complete_pools,
        ),
    ] = [HOST_POOL],
    name: options.Name = None,
    priority: options.Priority = DEFAULT_PRIORITY,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Watch the source and submit new models, until Ctrl-C.",
            rich_help_panel=options.CAMPAIGN,
        ),
    ] = False,
    dry_run: options.DryRun = False,
) -> None:
    """Enqueue one conversion per model and return at once.

    Workers do the rest: `nnlite worker convert` and `nnlite worker benchmark`.
    Submitting the same request again resumes it and makes nothing twice. A source
    that is still being written (nngpt) is followed with --follow: one campaign
    that grows; what was submitted stays when the source's files go.

    Example: nnlite submit --match 'ga-*' --limit 100 --seed 1 --name night
    """
    request = replace(request, pools=tuple(pool))
    if dry_run and follow:
        raise UsageError("--dry-run estimates the models that are there; leave --follow out")
    if dry_run:
        estimating.dry_run(request, name)
        return
    if follow:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # either stops it gracefully
        stopped = "stopped; submitted work goes on, the same command resumes following"
        with interruptible(stopped), session() as cluster:
            following.follow(cluster, request, name, priority)
    with session() as cluster:
        submitted = submit_request(cluster, request, name, priority)
        if submitted.sent:
            for line in explanation(cluster.engine, cluster.broker, submitted.name):
                note(line)
    note(f"watch it: nnlite watch {submitted.name}")


def submit_request(cluster: Session, request: Request, name: str | None, priority: int) -> Submitted:
    """Look the models up, submit the request and print the result.

    Raises:
        NnliteError: nothing was submitted; the message says why.
    """
    models, source = selection.resolve(request, cluster.settings)
    submitted = submit(
        cluster.engine,
        cluster.broker,
        request,
        models=models,
        source=source,
        settings=cluster.settings,
        name=name,
        priority=priority,
    )
    verb = "resumed" if submitted.resumed else "submitted"
    skipped = f", {submitted.skipped} of them skipped" if submitted.skipped else ""
    note(f"{verb} campaign {submitted.name}: {count(submitted.models, 'model')}{skipped}")
    if not submitted.sent:
        note("the broker is away; work starts when the broker is back")
    return submitted
