"""Campaign commands: submit, watch, status, results, failures, retry, cancel, pause, resume."""

import csv
import signal
import sys
from collections import Counter
from dataclasses import replace
from enum import StrEnum
from itertools import groupby
from typing import Annotated

import typer

from nnlite.campaigns import control
from nnlite.campaigns.control import CampaignError
from nnlite.campaigns.request import Request
from nnlite.campaigns.submit import Submitted, submit
from nnlite.cli import follow as following
from nnlite.cli import options, presentation, selection
from nnlite.cli import watch as watching
from nnlite.cli.output import err, print_json, print_table
from nnlite.cli.session import Session, interruptible, session
from nnlite.cli.verdicts import verdict_lines
from nnlite.queue.app import DEFAULT_PRIORITY
from nnlite.results import queries
from nnlite.vocabulary import HOST_POOL, WorkState

app = typer.Typer()


class Format(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    REPORTS = "reports"


@app.command("submit")
@selection.request_options
def submit_command(
    request: Request,
    pool: Annotated[list[str], typer.Option(help="Pool of devices to measure on; repeatable.")] = [HOST_POOL],
    name: options.Name = None,
    priority: options.Priority = DEFAULT_PRIORITY,
    follow: Annotated[
        bool, typer.Option("--follow", help="Watch the source and submit new models, until Ctrl-C.")
    ] = False,
) -> None:
    """Enqueue one conversion per model and return at once.

    Workers do the rest: `nnlite worker convert` and `nnlite worker benchmark`.
    Submitting the same request again resumes it and makes nothing twice. A source
    that is still being written (nngpt) is followed with --follow: one campaign
    that grows; what was submitted stays when the source's files go.

    Example: nnlite submit --match 'ga-*' --limit 100 --seed 1 --name night
    """
    request = replace(request, pools=tuple(pool))
    if follow:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # either stops it gracefully
        stopped = "stopped; submitted work goes on, the same command resumes following"
        with interruptible(stopped), session() as cluster:
            following.follow(cluster, request, name, priority)
    with session() as cluster:
        submitted = submit_request(cluster, request, name, priority)
    err.print(f"watch it: nnlite watch {submitted.name}", highlight=False)


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
    err.print(f"{verb} campaign {submitted.name}: {submitted.models} models{skipped}", highlight=False)
    if not submitted.sent:
        err.print("the broker is away; work starts when the broker is back", style="yellow")
    return submitted


@app.command()
def watch(name: options.Campaign) -> None:
    """Show a campaign's progress until it has ended; Ctrl-C leaves it running."""
    with interruptible(f"{name} goes on; watch it again: nnlite watch {name}"), session() as cluster:
        control.check_known(cluster.engine, name)
        progress = watching.watch(cluster.engine, name)
        verdicts = queries.verdicts(cluster.engine, name)
    err.print(watching.summary(progress), highlight=False)
    print_verdicts(verdicts, name)


@app.command()
def status(name: options.OptionalCampaign = None, json: options.Json = False) -> None:
    """List campaigns and how far they are, newest first.

    With --json, also what each of them is running now: model, device, backend, stage.
    """
    with session() as cluster:
        control.check_known(cluster.engine, name)
        campaigns = queries.campaigns(cluster.engine, name)
        running = {progress.name: _running(cluster, progress) for progress in campaigns} if json else {}
    rows = [presentation.campaign_row(progress) for progress in campaigns]
    if json:
        print_json([progress.as_dict() | {"running": running[progress.name]} for progress in campaigns])
    else:
        print_table(rows, presentation.CAMPAIGN_COLUMNS)


@app.command()
def results(
    name: options.OptionalCampaign = None,
    model: Annotated[str | None, typer.Option(help="Only models like this; `*` stands for anything.")] = None,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="json and csv have every column; reports are the whole reports of benchmarks, as JSON.",
        ),
    ] = Format.TABLE,
    param_limit: options.ParamLimit = None,
    json: options.Json = False,
) -> None:
    """Show measurements: latency with verdict, parity and the context that explains them.

    Efficiency is accuracy / latency in ms, for models within --param-limit.

    Example: nnlite results night --format csv > night.csv
    """
    with session() as cluster:
        control.check_known(cluster.engine, name)
        if form is Format.REPORTS:
            rows = queries.reports(cluster.engine, name, model)
        else:
            rows = queries.latencies(cluster.engine, name, model, param_limit)
        checks = queries.runtime_checks(cluster.engine, name, model) if form is Format.TABLE else []
    if json or form in {Format.JSON, Format.REPORTS}:
        print_json(rows)
    elif form is Format.CSV:
        if rows:
            writer = csv.DictWriter(sys.stdout, list(rows[0]))
            writer.writeheader()
            writer.writerows(presentation.csv_rows(rows))
    else:
        print_results(rows)
        print_checks(checks)


def print_results(rows: list[queries.Row], title: str | None = None) -> None:
    """Print measurements as a table."""
    shown = [presentation.result_row(row) for row in rows]
    print_table(shown, presentation.result_columns(shown), title=title, optional=presentation.OPTIONAL)
    if len(modes := sorted({row["mode"] for row in rows})) > 1:
        note = "compare rows of one mode: others ran for another time, and tails and intervals depend on it"
        err.print(f"modes {', '.join(modes)}: {note}", highlight=False)


def print_verdicts(rows: list[queries.Row], name: str) -> None:
    """Print how many results have each verdict, and what would make more of them valid."""
    for line in verdict_lines(rows, name):
        err.print(line, highlight=False)


def print_checks(rows: list[queries.Row]) -> None:
    """Print how many artifacts the phones' runtime accepts, and a table of the others."""
    for version, checks in groupby(rows, key=lambda row: row["runtime_version"]):
        of_version = list(checks)
        counts = Counter(row["runtime_check"] for row in of_version)
        counts_text = ", ".join(f"{count} {check}" for check, count in sorted(counts.items()))
        err.print(f"TensorFlow Lite {version}: {counts_text}", highlight=False)
        if shown := [presentation.check_row(row) for row in of_version if presentation.is_listed(row)]:
            print_table(shown, presentation.CHECK_COLUMNS, title=f"Not accepted by TensorFlow Lite {version}")


@app.command()
def failures(name: options.OptionalCampaign = None, json: options.Json = False) -> None:
    """List every model and every precision without a result: class, stage, reason; skipped ones included."""
    with session() as cluster:
        control.check_known(cluster.engine, name)
        rows = queries.failures(cluster.engine, name)
    if json:
        print_json(rows)
    else:
        shown = [presentation.failure_row(row) for row in rows]
        print_table(shown, presentation.failure_columns(shown))


@app.command()
def retry(
    name: options.Campaign,
    models: options.Models = None,
    failed: Annotated[bool, typer.Option("--failed", help="Also rows that failed for good.")] = False,
    cancelled: Annotated[bool, typer.Option("--cancelled", help="Also cancelled rows.")] = False,
    noisy: Annotated[
        bool,
        typer.Option("--noisy", help="Only this: measure again what is noisy or throttled at its best."),
    ] = False,
) -> None:
    """Queue quarantined work again with its counters at zero; history stays."""
    if noisy:
        if models or failed or cancelled:
            raise CampaignError("--noisy measures results again; leave --failed, --cancelled and names out")
        with session() as cluster:
            count = control.retry_noisy(cluster.engine, cluster.broker, name)
        err.print(f"measured again: {count}", highlight=False)
        return
    states = [WorkState.QUARANTINED]
    states += [WorkState.FAILED] if failed or models else []
    states += [WorkState.CANCELLED] if cancelled else []
    with session() as cluster:
        count = control.retry(cluster.engine, cluster.broker, name, states, models or ())
    err.print(f"queued again: {count}", highlight=False)


@app.command()
def cancel(name: options.Campaign) -> None:
    """Cancel a campaign: queued and running work becomes cancelled; results stay."""
    with session() as cluster:
        count = control.cancel(cluster.engine, name)
    err.print(f"cancelled {name}: {count} conversions and benchmarks", highlight=False)


@app.command()
def pause(name: options.Campaign) -> None:
    """Pause a campaign: no new work starts, running work ends normally."""
    with session() as cluster:
        control.pause(cluster.engine, name)
    err.print(f"paused {name}; continue with: nnlite resume {name}", highlight=False)


@app.command()
def resume(name: options.Campaign) -> None:
    """Resume a paused campaign."""
    with session() as cluster:
        sent = control.resume(cluster.engine, cluster.broker, name)
    err.print(f"resumed {name}" + ("" if sent else "; work starts when the broker is back"), highlight=False)


def _running(cluster: Session, progress: queries.Progress) -> list[queries.Row]:
    works = progress.converting + progress.measuring
    return queries.running(cluster.engine, progress.name) if works else []
