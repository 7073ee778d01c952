"""`nnlite submit`: queues a campaign for workers."""

from dataclasses import replace
from typing import Annotated

import typer

from nnlite.campaigns.request import Request
from nnlite.cli.actions.dry_run import dry_run as print_estimate
from nnlite.cli.parsing import options, selection
from nnlite.cli.parsing.campaign_file import CampaignFileCommand
from nnlite.cli.parsing.completion import complete_pools
from nnlite.errors import UsageError
from nnlite.vocabulary import DEFAULT_PRIORITY, HOST_POOL

app = typer.Typer()


@app.command("submit", cls=CampaignFileCommand)
@selection.request_options
def submit_command(
    request: Request,
    pool: Annotated[
        list[str],
        options.of_measurement(
            help="Pool of devices to measure on; repeatable.", autocompletion=complete_pools
        ),
    ] = [HOST_POOL],
    name: options.Name = None,
    priority: options.Priority = DEFAULT_PRIORITY,
    follow: Annotated[
        bool,
        options.of_campaign("--follow", help="Watch the source and submit new models, until Ctrl-C."),
    ] = False,
    yes: options.YesToAll = False,
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
        print_estimate(request, name, priority)
        return
    from nnlite.cli.actions import submitting

    if follow:
        submitting.follow(request, name, priority)
    else:
        submitting.submit(request, name, priority, yes=yes)
