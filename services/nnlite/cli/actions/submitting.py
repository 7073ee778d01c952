"""Submits a request, once or as its source grows, and says what it waits for."""

import shlex
import signal
from dataclasses import dataclass

import typer

from nnlite.campaigns import submit as campaigns
from nnlite.campaigns.checks import absent_backends, check_request
from nnlite.campaigns.request import Request
from nnlite.catalog.model import CatalogModel, ModelSource
from nnlite.cli.actions import dry_run
from nnlite.cli.actions import follow as following
from nnlite.cli.actions.session import Session, interruptible, session
from nnlite.cli.parsing import selection
from nnlite.cli.presenting.output import count, note
from nnlite.cli.presenting.waiting import explanation
from nnlite.settings import Settings, load_settings


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A request that can be submitted, with its models; nothing is stored or started for it yet."""

    request: Request
    models: list[CatalogModel]
    source: ModelSource
    #: Of the campaign.
    name: str
    priority: int


def prepare(
    request: Request,
    name: str | None,
    priority: int,
    settings: Settings,
    *,
    yes: bool,
    converters: int = 1,
) -> Prepared:
    """Look the models up and check everything that can be checked without servers.

    A request that selects nothing takes all models of its source; the user is asked before.

    Args:
        name: of the campaign; None: one that is derived from the request.
        yes: the user was asked already.
        converters: conversions at a time, for the estimate.

    Raises:
        NnliteError: the request would be refused, or nobody can be asked.
        Exit: the user does not want all models.
    """
    models, source = selection.resolve(request, settings)
    name = check_request(request, models, name=name, priority=priority, settings=settings)
    if (
        request.takes_all
        and not yes
        and not dry_run.confirmed_all(request, models, name, settings, converters)
    ):
        note("nothing was submitted")
        raise typer.Exit(1)
    return Prepared(request=request, models=models, source=source, name=name, priority=priority)


def submit(request: Request, name: str | None, priority: int, *, yes: bool) -> None:
    """Submit a request, and print what it waits for and how to watch it.

    Raises:
        NnliteError: nothing was submitted; the message says why.
    """
    prepared = prepare(request, name, priority, load_settings(), yes=yes)
    with session(creates=True) as cluster:
        submitted = submit_prepared(cluster, prepared)
        if submitted.sent:
            for line in explanation(cluster.engine, cluster.broker, submitted.name, cluster.settings.home):
                note(line)
    note(f"watch it: nnlite watch {shlex.quote(submitted.name)}")


def follow(request: Request, name: str | None, priority: int) -> None:
    """Submit the models of a source as they come, until Ctrl-C or SIGTERM.

    Raises:
        RequestError: the source cannot be followed, or the campaign takes no more models.
    """
    following.source_of(request, load_settings())  # refused before servers start
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either stops it gracefully
    stopped = "stopped; submitted work goes on, the same command resumes following"
    with interruptible(stopped), session(creates=True) as cluster:
        following.follow(cluster, request, name, priority)


def submit_prepared(cluster: Session, prepared: Prepared) -> campaigns.Submitted:
    """Submit a request and print the result.

    Raises:
        NnliteError: nothing was submitted; the message says why.
    """
    submitted = campaigns.submit(
        cluster.engine,
        cluster.broker,
        prepared.request,
        models=prepared.models,
        source=prepared.source,
        settings=cluster.settings,
        name=prepared.name,
        priority=prepared.priority,
    )
    verb = "resumed" if submitted.resumed else "submitted"
    skipped = f", {submitted.skipped} of them skipped" if submitted.skipped else ""
    note(f"{verb} campaign {submitted.name}: {count(submitted.models, 'model')}{skipped}")
    if skipped:
        note(f"why skipped: nnlite failures {shlex.quote(submitted.name)}")
    for warning in absent_backends(cluster.engine, prepared.request):
        note(f"warning: {warning}")
    if not submitted.sent:
        note("the broker is away; work starts when the broker is back")
    return submitted
