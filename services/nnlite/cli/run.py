"""`nnlite run`: the whole chain on this machine, attached."""

import signal
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from nnlite.campaigns.request import Request
from nnlite.campaigns.thread_counts import check_cores
from nnlite.cli import options, presentation, selection
from nnlite.cli import watch as watching
from nnlite.cli.campaigns import print_checks, print_results, print_verdicts, submit_request
from nnlite.cli.output import err, print_table
from nnlite.cli.session import Session, interruptible, session
from nnlite.errors import NnliteError
from nnlite.host.cores import cores_of
from nnlite.host.tflite_environment import RuntimeEnvironment, runtime_environment
from nnlite.local import Supervisor, Worker, local_instance, workers_lock
from nnlite.queue.app import DEFAULT_PRIORITY
from nnlite.results import queries
from nnlite.results.runtime_checks import pending
from nnlite.settings import load_settings
from nnlite.vocabulary import CampaignState

app = typer.Typer()
#: A worker that was restarted this often does not come up at all.
_MAX_RESTARTS = 5


@app.command()
@selection.request_options
def run(
    request: Request,
    name: options.Name = None,
    priority: options.Priority = DEFAULT_PRIORITY,
    converters: Annotated[int, typer.Option(min=1, help="Conversions at a time.")] = 2,
) -> None:
    """Convert and measure models on this machine, and show the results.

    Starts the servers and the workers, submits, shows progress until everything
    has ended, stops what it started. Ctrl-C stops it gracefully; the same command
    resumes. A second `run` at the same time only submits to its workers.

    Example: nnlite run --limit 20 --seed 1
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either stops it gracefully
    settings = load_settings()
    check_cores(request, len(cores_of(settings).measuring), "this machine")
    environment = runtime_environment(settings)
    with (
        interruptible("stopped; the same command resumes"),
        workers_lock(settings) as mine,
        session() as cluster,
    ):
        submitted = submit_request(cluster, request, name, priority)
        if not mine:
            err.print("the workers of another `nnlite run` do the work", highlight=False)
            watching.watch(cluster.engine, submitted.name)
        elif not _ended(cluster, submitted.name, environment):
            programs = _programs(converters, checks=environment is not None)
            with supervised(cluster, programs) as supervisor:
                _watch(cluster, submitted.name, environment, supervisor)
        _show(cluster, submitted.name)


def _ended(cluster: Session, name: str, environment: RuntimeEnvironment | None) -> bool:
    (progress,) = queries.campaigns(cluster.engine, name)
    checked = environment is None or not pending(cluster.engine, name, environment.version)
    return progress.ended and checked


def _watch(
    cluster: Session, name: str, environment: RuntimeEnvironment | None, supervisor: Supervisor
) -> None:
    """Watch the campaign to its end, and then the checks of its artifacts, where these are made."""
    # Checks only inform: a worker of theirs that does not stay up ends no campaign.
    progress = watching.watch(cluster.engine, name, lambda: check_workers(supervisor, cluster, but="check"))
    if environment is not None and progress.state != CampaignState.CANCELLED:
        version = environment.version
        watching.watch_checks(cluster.engine, name, version, lambda: check_workers(supervisor, cluster))


#: Arguments of the programs that measure on this machine, by name.
MEASURING = {"benchmark": ["worker", "benchmark", "--device", "host"], "reaper": ["reaper"]}


def _programs(converters: int, *, checks: bool) -> dict[str, list[str]]:
    return {
        "convert": ["worker", "convert", "--concurrency", str(converters)],
        **MEASURING,
        **({"check": ["worker", "check"]} if checks else {}),
    }


def supervised(cluster: Session, programs: Mapping[str, list[str]]) -> Supervisor:
    """Return what keeps `programs` running on this machine: the command's arguments by name."""
    nnlite = [sys.executable, "-m", "nnlite.cli"]
    workers = [
        Worker(name=name, argv=[*nnlite, *arguments], stop_rank=int(name == "reaper"))
        for name, arguments in programs.items()
    ]
    return Supervisor(local_instance(cluster.settings), workers)


def check_workers(supervisor: Supervisor, cluster: Session, but: str | None = None) -> None:
    """Raise NnliteError if a worker does not stay up, other than `but`."""
    for status in supervisor.status():
        if status.name != but and status.restarts >= _MAX_RESTARTS and status.pid is None:
            log = cluster.settings.home / "logs" / f"{status.name}.log"
            raise NnliteError(
                f"the {status.name} worker does not stay up (exit status {status.exit_status}); see {log}"
            )


def _show(cluster: Session, name: str) -> None:
    """Print the table of results, below it every failure, and where everything is."""
    (progress,) = queries.campaigns(cluster.engine, name)
    print_results(queries.latencies(cluster.engine, name), title="Results")
    print_checks(queries.runtime_checks(cluster.engine, name))
    if failed := queries.failures(cluster.engine, name):
        shown = [presentation.failure_row(row) for row in failed]
        print_table(shown, presentation.failure_columns(shown), title="Without a result")
    settings = cluster.settings
    err.print(watching.summary(progress), highlight=False)
    print_verdicts(queries.verdicts(cluster.engine, name), name)
    err.print(f"artifacts: {settings.artifacts}", highlight=False, soft_wrap=True)
    where = "NNLITE_DATABASE_URL" if settings.database_url else str(settings.home / "postgres")
    err.print(
        f"database:  {where}; ask it: echo 'TABLE latency' | nnlite db psql", highlight=False, soft_wrap=True
    )
    err.print(f"again:     nnlite results {name} --format csv", highlight=False, soft_wrap=True)
