"""Shared Celery worker runtime: build the worker context, register the task, run, shut down gracefully.

The workers bring their handler and their pool; everything that must be the same
for both is here.
"""

import os
import signal
import socket
import uuid
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import FrameType
from typing import Any, Final

import structlog
from celery import Celery, Task, signals
from celery.exceptions import SecurityWarning
from celery.worker import state as celery_state
from celery.worker.request import Request

from nnlite import logs
from nnlite.db.engine import engine_for
from nnlite.db.reader import migrate_embedded
from nnlite.errors import NnliteError, Stopped
from nnlite.host.backoff import Backoff
from nnlite.host.fork import die_with_parent
from nnlite.host.health_file import health_file_of_process, touch_health_file
from nnlite.local import Endpoints, servers
from nnlite.queue import leases
from nnlite.queue.app import DISPLAY_ARGS, create_app, task_name
from nnlite.queue.messages import BrokerClient
from nnlite.queue.owner import Instance, Owner
from nnlite.settings import Settings, load_settings
from nnlite.vocabulary import WorkKind
from nnlite.worker.attempt import (
    BUSY_PAUSE_S,
    Handler,
    Outcome,
    PostgresUnreachableError,
    WorkerContext,
    run_attempt,
    send,
)
from nnlite.worker.schema_guard import SchemaChangedError, SchemaGuard, await_schema
from nnlite.worker.soft_shutdown import wait_until_given_back
from nnlite.worker.watchdog import Watchdog, WorkerLiveness

log = structlog.get_logger()

#: Exit code of a worker that its watchdog or a deadline ended (sysexits.h: EX_SOFTWARE).
EXIT_FAULT = 70
#: The part of `queue.stop_timeout_s` that a stop waits at most for running work to be given back.
SOFT_SHUTDOWN_SHARE: Final = 0.15
_RETRY: Final = Backoff(first_s=1, max_s=60)


def default_node(name: str) -> str:
    """Return the Celery node name of the worker `name` on this host; names must be unique on a host."""
    return f"{name}@{socket.gethostname()}"


def open_context(
    endpoints: Endpoints, settings: Settings, node: str, liveness: WorkerLiveness, worker: int | None = None
) -> WorkerContext:
    """Return the context of this process, whose connections are opened on first use.

    `worker` is the PID of the worker that a pool process belongs to.
    """
    engine = engine_for(endpoints.database_url, settings.database_timeout_s)
    return WorkerContext(
        engine=engine,
        guard=SchemaGuard(engine=engine, main_pid=worker or os.getpid()),
        broker=BrokerClient(endpoints.broker_url, settings.broker_timeout_s),
        owner=Owner(node=node, instance=Instance.current()),
        settings=settings,
        stopping=lambda: liveness.stopping,
        mark_progress=liveness.mark_progress,
    )


def run_process(run: Callable[[Settings, Endpoints], int]) -> int:
    """Load settings, configure logs, start or find the servers, and return the exit code of `run` with them.

    An error is logged, and the exit code is 1.
    """
    try:
        settings = load_settings()
        logs.configure(settings.log_level)
        with health_file_of_process(settings.health_file), servers(settings) as endpoints:
            migrate_embedded(settings, endpoints.database_url)
            return run(settings, endpoints)
    except Stopped as stopped:
        log.info(str(stopped))
        return os.EX_OK
    except NnliteError as error:
        log.error(str(error))
        return 1


def per_process_context(
    endpoints: Endpoints, settings: Settings, node: str, liveness: WorkerLiveness
) -> Callable[[], WorkerContext]:
    """Return a function that returns each process of a worker its own context.

    A pool process that calls it is killed when the worker dies, and its children with it.
    """
    worker = os.getpid()

    @cache
    def context_of(pid: int) -> WorkerContext:
        if pid != worker:
            die_with_parent(lambda: os.getppid() != worker)
        return open_context(endpoints, settings, node, liveness, worker)

    return lambda: context_of(os.getpid())


def requeue_leftovers(context: WorkerContext, kind: WorkKind) -> None:
    """Wait for this version's schema; requeue the rows that an earlier process of this worker left running.

    Raises:
        DatabaseError: Postgres cannot be reached.
        Stopped: the worker was stopped while it waited.
    """
    await_schema(context.engine, context.settings.health_file, context.stopping)
    messages = leases.requeue_of_node(context.engine, kind, context.owner, context.settings.queue)
    if messages:
        log.warning("rows of an earlier process are queued again", rows=len(messages))
        send(context.broker, messages)


@dataclass(frozen=True, kw_only=True)
class WorkerPlan:
    """Configuration of one worker: its queue, pool and handler."""

    kind: WorkKind
    node: str
    queue: str
    #: `prefork` or `threads`.
    pool: str
    concurrency: int
    deadline_s: float
    #: Returns this process's context; called inside the pool.
    context: Callable[[], WorkerContext]
    handler: Handler
    #: The device that it owns, shown in Flower.
    device: str | None = None
    #: Called in the signal handler that stops the worker.
    on_stop: Callable[[], None] = lambda: None
    #: Called with the row when a message was handled and its outcome is stored.
    after: Callable[[uuid.UUID], None] = lambda _row: None


def register_task(app: Celery, plan: WorkerPlan, liveness: WorkerLiveness) -> None:
    """Register the task of `plan`: acknowledged late; a failed attempt is a success for Celery."""

    @app.task(  # type: ignore[untyped-decorator]
        name=task_name(plan.kind),
        bind=True,
        acks_late=True,
        max_retries=None,
        shared=False,
        Request=_display_request(plan),
    )
    def task(self: Task, row: str, *display_args: str) -> str:
        liveness.mark_progress()
        try:
            with structlog.contextvars.bound_contextvars(model=display_args[0] if display_args else row):
                outcome = run_attempt(
                    plan.context(), plan.kind, uuid.UUID(row), plan.handler, plan.deadline_s
                )
        except (PostgresUnreachableError, SchemaChangedError) as error:
            raise self.retry(exc=error, countdown=_RETRY.pause_s(self.request.retries)) from error
        finally:
            liveness.mark_progress()
        plan.after(uuid.UUID(row))
        if outcome is Outcome.BUSY:
            raise self.retry(countdown=BUSY_PAUSE_S)
        return outcome.value


def _display_request(plan: WorkerPlan) -> type[Request]:
    """Return a Request class whose events show the row as argument, model and device as keywords."""

    class DisplayRequest(Request):  # type: ignore[misc]
        @property
        def argsrepr(self) -> str:
            return repr(self._message_args()[:1])

        @property
        def kwargsrepr(self) -> str:
            shown = dict(zip(DISPLAY_ARGS[plan.kind], self._message_args()[1:], strict=False))
            return repr(shown | ({"device": plan.device} if plan.device else {}))

        def _message_args(self) -> list[Any]:
            # A foreign message without arguments must fail as a task, not here.
            return self.args if isinstance(self.args, list) else []

    return DisplayRequest


def stop_on_signals(
    stop_timeout_s: float, is_stopping: Callable[[], bool], stop: Callable[[int, FrameType | None], None]
) -> None:
    """Call `stop` at SIGTERM and SIGINT; exit at a second one, and `stop_timeout_s` after the first."""

    def handle(number: int, frame: FrameType | None) -> None:
        if is_stopping():
            os._exit(EXIT_FAULT)
        signal.alarm(max(1, round(stop_timeout_s)))
        stop(number, frame)

    signal.signal(signal.SIGALRM, lambda *_: os._exit(EXIT_FAULT))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def _stop_before_celery(plan: WorkerPlan, liveness: WorkerLiveness, stop_timeout_s: float) -> None:
    celery_handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: FrameType | None) -> None:
        liveness.stop()
        plan.on_stop()
        if callable(celery_handler := celery_handlers[signal.Signals(number)]):
            celery_handler(number, frame)

    stop_on_signals(stop_timeout_s, lambda: liveness.stopping, stop)


def stop_consuming() -> None:
    """Let `run_worker` return gracefully once the running task has ended; then it may be called again."""
    celery_state.should_stop = os.EX_OK


def run_worker(plan: WorkerPlan, endpoints: Endpoints, settings: Settings, liveness: WorkerLiveness) -> int:
    """Consume until stopped, or until `stop_consuming`, and return the exit code of the process."""
    celery_state.should_stop = None
    if liveness.stopping:  # stopped between two calls; a signal from here on sets Celery's flag again
        return os.EX_OK
    liveness.mark_progress()
    app = create_app(endpoints.broker_url, settings, [plan.queue])
    register_task(app, plan, liveness)
    broker = BrokerClient(endpoints.broker_url, settings.broker_timeout_s)
    stop_timeout_s = settings.queue.stop_timeout_s
    watchdog_pid = Watchdog(
        liveness=liveness,
        queue_has_work=lambda: broker.ready(plan.queue) > 0,
        idle_limit_s=settings.queue.watchdog_idle_s,
        stop_timeout_s=stop_timeout_s,
    ).start()

    class StoppableWorker(app.Worker):  # type: ignore[misc, name-defined]
        """Sets the stop flag of the running work before Celery waits for it, also while it has no broker."""

        def wait_for_soft_shutdown(self) -> None:
            # 3 s by default; Celery's own would always take them.
            timeout_s = SOFT_SHUTDOWN_SHARE * stop_timeout_s
            wait_until_given_back(endpoints.database_url, plan.kind, plan.node, timeout_s)

        def install_platform_tweaks(self, worker: Any) -> None:
            super().install_platform_tweaks(worker)
            _stop_before_celery(plan, liveness, stop_timeout_s)

    def touch(**_: Any) -> None:
        # From Celery's own loop: when that stalls, the health file gets old.
        touch_health_file(settings.health_file)

    def ready(**_: Any) -> None:
        liveness.ready()
        log.info("ready", node=plan.node, queue=plan.queue, concurrency=plan.concurrency)

    # It advises --uid, an option of another command. What runs as root is nnlite's own matter.
    warnings.simplefilter("ignore", SecurityWarning)
    signals.worker_ready.connect(ready, weak=False)
    signals.heartbeat_sent.connect(touch, weak=False)
    try:
        worker = StoppableWorker(
            hostname=plan.node,
            pool_cls=plan.pool,
            concurrency=plan.concurrency,
            queues=[plan.queue],
            optimization="fair",
            task_events=True,
            without_gossip=True,
            without_mingle=True,
            loglevel=settings.log_level,
            quiet=True,  # no banner: it would be printed after every fault of a device
        )
        worker.start()
        return int(worker.exitcode or 0)
    finally:
        signals.worker_ready.disconnect(ready)
        signals.heartbeat_sent.disconnect(touch)
        broker.close()
        app.close()
        os.kill(watchdog_pid, signal.SIGKILL)
        os.waitpid(watchdog_pid, 0)
