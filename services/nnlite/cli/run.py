"""`nnlite run`: the whole chain on this machine, attached."""

from typing import Annotated

import typer

from nnlite.campaigns.request import Request
from nnlite.cli.actions.dry_run import dry_run as print_estimate
from nnlite.cli.parsing import options, selection
from nnlite.cli.parsing.campaign_file import CampaignFileCommand
from nnlite.vocabulary import DEFAULT_PRIORITY

app = typer.Typer()


@app.command(cls=CampaignFileCommand)
@selection.request_options
def run(
    request: Request,
    name: options.Name = None,
    priority: options.Priority = DEFAULT_PRIORITY,
    converters: Annotated[int, typer.Option(min=1, help="Conversions at a time.")] = 2,
    yes: options.YesToAll = False,
    dry_run: options.DryRun = False,
) -> None:
    """Convert and measure models on this machine, and show the results.

    Starts the servers and the workers, submits, shows progress until everything
    has ended, stops what it started. Ctrl-C stops it gracefully; the same command
    resumes. Workers of `nnlite up` or of another command do the work where they run.

    Example: nnlite run --limit 20 --seed 1; or all options in a file: nnlite run night.toml
    """
    if dry_run:
        print_estimate(request, name, priority, converters)
        return
    from nnlite.cli.actions.running import run_here

    run_here(request, name, priority, converters, yes=yes)
