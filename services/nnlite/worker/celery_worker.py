"""What every Celery worker of ours does: open its context, register its task, run, stop in order.

The workers' own modules bring `perform` and the pool; everything that must be
the same for both is here.
"""

import os
import signal
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import FrameType
from typing import Any, Final

import structlog
from celery import Celery, Task, signals
from celery.worker import state as celery_state
from celery.worker.request import Request

from nnlite import logs
from nnlite.db.engine import check_schema, engine_for, migrate_embedded
from nnlite.errors import NnliteError
from nnlite.host.fork import die_with_parent
from nnlite.host.health_file import sign_of_life, touch_health_file
from nnlite.local import Endpoints, servers
from nnlite.queue import leases
from nnlite.queue.app import LABELS, create_app, task_name
from nnlite.queue.messages import BrokerClient
from nnlite.queue.owner import Instance, Owner
from nnlite.settings import Settings, load_settings
from nnlite.vocabulary import WorkKind
from nnlite.worker.attempt import BUSY_PAUSE_S, Outcome, Perform, UnreachableError, WorkerContext, send, work
from nnlite.worker.watchdog import Watchdog, WorkerLiveness

log = structlog.get_logger()

#: Exit code of a worker that its watchdog or a deadline ended (sysexits.h: EX_SOFTWARE).
EXIT_FAULT = 70
#: The part of `queue.stop_timeout_s` that Celery waits for running tasks.
SOFT_SHUTDOWN_SHARE: Final = 0.15


def default_node(name: str) -> str:
    """Return the Celery node name of the worker `name` on this host; names must be unique on a host."""
    return f"{name}@{socket.gethostname()}"


def open_context(
    endpoints: Endpoints, settings: Settings, node: str, liveness: WorkerLiveness
) -> WorkerContext:
    """Return what this process works with; connections are made when first used."""
    return WorkerContext(
        engine=engine_for(endpoints.database_url, settings.database_timeout_s),
        broker=BrokerClient(endpoints.broker_url, settings.broker_timeout_s),
        owner=Owner(node=node, instance=Instance.current()),
        settings=settings,
        stopping=lambda: liveness.stopping,
        alive=liveness.alive,
    )


def run_process(run: Callable[[Settings, Endpoints], int]) -> int:
    """Open the settings, the logs and the servers, and return the exit code of `run` with them.

    What cannot be used is said in the log, and the exit code is 1.
    """
    try:
        settings = load_settings()
        logs.configure(settings.log_level)
        with sign_of_life(settings.health_file), servers(settings) as endpoints:
            migrate_embedded(settings, endpoints.database_url)
            return run(settings, endpoints)
    except NnliteError as error:
        log.error(str(error))
        return 1


def per_process_context(
    endpoints: Endpoints, settings: Settings, node: str, liveness: WorkerLiveness
) -> Callable[[], WorkerContext]:
    """Return a function that gives every process of a worker a context of its own.

    A pool process that asks for its context dies with the worker from then on,
    and takes what it supervises along.
    """
    worker = os.getpid()

    @cache
    def station_of(pid: int) -> WorkerContext:
        if pid != worker:
            die_with_parent(lambda: os.getppid() != worker)
        return open_context(endpoints, settings, node, liveness)

    return lambda: station_of(os.getpid())


def give_back_leftovers(context: WorkerContext, kind: WorkKind) -> None:
    """Check the schema and give back what an earlier instance of this worker left running.

    Raises:
        DatabaseError: Postgres cannot be reached or is not migrated.
    """
    check_schema(context.engine)
    messages = leases.requeue_of_node(context.engine, kind, context.owner, context.settings.limits)
    if messages:
        log.warning("rows of an earlier instance are given back", rows=len(messages))
        send(context.broker, messages)


@dataclass(frozen=True, kw_only=True)
class WorkerPlan:
    """One worker: what it consumes and how."""

    kind: WorkKind
    node: str
    queue: str
    #: `prefork` or `threads`.
    pool: str
    concurrency: int
    deadline_s: float
    #: Returns this process's context; called inside the pool.
    context: Callable[[], WorkerContext]
    perform: Perform
    #: The device that it owns, for people who watch Flower.
    device: str | None = None
    #: Called in a signal handler when the worker is told to stop.
    on_stop: Callable[[], None] = lambda: None
    #: Called with the row when a message is done with and its end is written.
    after: Callable[[uuid.UUID], None] = lambda _row: None


def register_task(app: Celery, plan: WorkerPlan, liveness: WorkerLiveness) -> None:
    """Register the one task of `plan`: thin, late acknowledged, never failing for Celery."""

    @app.task(  # type: ignore[untyped-decorator]
        name=task_name(plan.kind),
        bind=True,
        acks_late=True,
        max_retries=None,
        shared=False,
        Request=_readable_request(plan),
    )
    def task(self: Task, row: str, *label: str) -> str:
        liveness.alive()
        try:
            with structlog.contextvars.bound_contextvars(model=label[0] if label else row):
                outcome = work(plan.context(), plan.kind, uuid.UUID(row), plan.perform, plan.deadline_s)
        except UnreachableError as error:
            pause_s = min(2.0 ** min(self.request.retries, 6), 60.0)
            raise self.retry(exc=error, countdown=pause_s) from error
        finally:
            liveness.alive()
        plan.after(uuid.UUID(row))
        if outcome is Outcome.BUSY:
            raise self.retry(countdown=BUSY_PAUSE_S)
        return outcome.value


def _readable_request(plan: WorkerPlan) -> type[Request]:
    """Return how a message of `plan` shows itself in events: by row, and by what it is about."""

    class ReadableRequest(Request):  # type: ignore[misc]
        @property
        def argsrepr(self) -> str:
            return repr(self._words()[:1])

        @property
        def kwargsrepr(self) -> str:
            about = dict(zip(LABELS[plan.kind], self._words()[1:], strict=False))
            return repr(about | ({"device": plan.device} if plan.device else {}))

        def _words(self) -> list[Any]:
            # A message need not be ours: one without arguments fails as a task, not here.
            return self.args if isinstance(self.args, list) else []

    return ReadableRequest


def end_consumption() -> None:
    """Let `run_worker` return in order once the running task has ended; then it may be called again."""
    celery_state.should_stop = os.EX_OK


def run_worker(plan: WorkerPlan, endpoints: Endpoints, settings: Settings, liveness: WorkerLiveness) -> int:
    """Consume until stopped, or until `end_consumption`, and return the exit code of the process."""
    celery_state.should_stop = None
    if liveness.stopping:  # told between two calls: a signal from here on sets Celery's flag again
        return os.EX_OK
    liveness.alive()
    app = create_app(endpoints.broker_url, settings, [plan.queue])
    # 3 s by default: a released row is written well within it.
    app.conf.worker_soft_shutdown_timeout = SOFT_SHUTDOWN_SHARE * settings.queue.stop_timeout_s
    register_task(app, plan, liveness)
    broker = BrokerClient(endpoints.broker_url, settings.broker_timeout_s)
    watchdog = Watchdog(
        liveness=liveness,
        queue_has_work=lambda: broker.ready(plan.queue) > 0,
        idle_limit_s=settings.queue.watchdog_idle_s,
        stop_timeout_s=settings.queue.stop_timeout_s,
    )
    watchdog_pid = watchdog.start()
    stop_timeout_s = settings.queue.stop_timeout_s

    class OurWorker(app.Worker):  # type: ignore[misc, name-defined]
        """Heeds signals in our way from the start, also while it waits for a broker that is away."""

        def install_platform_tweaks(self, worker: Any) -> None:
            super().install_platform_tweaks(worker)
            _heed_signals(plan, liveness, stop_timeout_s)

    def live(**_: Any) -> None:
        # From Celery's own loop: what stalls it ends the signs as well.
        touch_health_file(settings.health_file)

    ready = _when_ready(plan, liveness)
    signals.worker_ready.connect(ready, weak=False)
    signals.heartbeat_sent.connect(live, weak=False)
    try:
        worker = OurWorker(
            hostname=plan.node,
            pool_cls=plan.pool,
            concurrency=plan.concurrency,
            queues=[plan.queue],
            optimization="fair",
            task_events=True,
            without_gossip=True,
            without_mingle=True,
            loglevel=settings.log_level,
            quiet=True,  # no banner: it would come again after every fault of a device
        )
        worker.start()
        return int(worker.exitcode or 0)
    finally:
        signals.worker_ready.disconnect(ready)
        signals.heartbeat_sent.disconnect(live)
        broker.close()
        app.close()
        os.kill(watchdog_pid, signal.SIGKILL)
        os.waitpid(watchdog_pid, 0)


def _heed_signals(plan: WorkerPlan, liveness: WorkerLiveness, stop_timeout_s: float) -> None:
    signal.signal(signal.SIGALRM, lambda *_: os._exit(EXIT_FAULT))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number, celery_handler in handlers.items():
        signal.signal(number, _stop_then(celery_handler, plan, liveness, stop_timeout_s))


def _when_ready(plan: WorkerPlan, liveness: WorkerLiveness) -> Callable[..., None]:
    def ready(**_: Any) -> None:
        liveness.ready()
        log.info("ready", node=plan.node, queue=plan.queue, concurrency=plan.concurrency)

    return ready


def _stop_then(
    celery_handler: Any, plan: WorkerPlan, liveness: WorkerLiveness, stop_timeout_s: float
) -> Callable[[int, FrameType | None], None]:
    """Tell the work to stop before Celery begins to wait for it; a second signal exits at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        if liveness.stopping:
            os._exit(EXIT_FAULT)
        liveness.stop()
        plan.on_stop()
        signal.alarm(max(1, round(stop_timeout_s)))
        if callable(celery_handler):
            celery_handler(number, frame)

    return handle
