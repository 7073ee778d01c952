"""Submits a request, once or as its source grows, and says what it waits for."""

import shlex
import signal

from nnlite.campaigns import submit as campaigns
from nnlite.campaigns.request import Request
from nnlite.cli import follow as following
from nnlite.cli import selection
from nnlite.cli.output import count, note
from nnlite.cli.session import Session, interruptible, session
from nnlite.cli.waiting import explanation


def submit(request: Request, name: str | None, priority: int) -> None:
    """Submit a request, and print what it waits for and how to watch it.

    Raises:
        NnliteError: nothing was submitted; the message says why.
    """
    with session() as cluster:
        submitted = submit_request(cluster, request, name, priority)
        if submitted.sent:
            for line in explanation(cluster.engine, cluster.broker, submitted.name, cluster.settings.home):
                note(line)
    note(f"watch it: nnlite watch {shlex.quote(submitted.name)}")


def follow(request: Request, name: str | None, priority: int) -> None:
    """Submit the models of a source as they come, until Ctrl-C or SIGTERM.

    Raises:
        RequestError: the source cannot be followed, or the campaign takes no more models.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either stops it gracefully
    stopped = "stopped; submitted work goes on, the same command resumes following"
    with interruptible(stopped), session() as cluster:
        following.follow(cluster, request, name, priority)


def submit_request(
    cluster: Session, request: Request, name: str | None, priority: int
) -> campaigns.Submitted:
    """Look the models up, submit the request and print the result.

    Raises:
        NnliteError: nothing was submitted; the message says why.
    """
    models, source = selection.resolve(request, cluster.settings)
    submitted = campaigns.submit(
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
