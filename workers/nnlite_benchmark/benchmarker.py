"""Runs one benchmark attempt: from the claimed row to the rows of its result.

Fetches the artifact and measures it on each backend of the worker's device, the
CPU with each number of threads, while a thread sends heartbeats.
"""

import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import structlog
from sqlalchemy import Connection, text

from nnlite.artifacts.store import OUTPUT_SUFFIX, ArtifactGoneError, ArtifactStore, StoreError
from nnlite.db.rows import from_row
from nnlite.db.tables import Artifact
from nnlite.errors import Failure, FailureClass, Stopped
from nnlite.queue import leases
from nnlite.queue.leases import Claim, LeaseLostError
from nnlite.queue.messages import Message
from nnlite.reports.schema import BenchmarkReport, MeasurementReport
from nnlite.results.devices import record_fast_speeds
from nnlite.results.recording import record_benchmark
from nnlite.vocabulary import ENDED_STATES, PASSES, Backend, Mode, Stage, WorkKind
from nnlite.worker.attempt import Result, WorkerContext, renew, send
from nnlite.worker.celery_worker import EXIT_FAULT, stop_consuming
from nnlite_benchmark.accuracy import DeviceEvaluator
from nnlite_benchmark.device import BenchmarkJob, Device, DeviceFailure, FaultOccurrence, RuntimeRefusal
from nnlite_benchmark.jobs import accuracy_of, backends_of, check_cores, job_of, with_cores, with_threads
from nnlite_benchmark.protocol.passes import passes_of
from nnlite_benchmark.protocol.stage_timer import StageTimer

log = structlog.get_logger()

#: Poll interval of the heartbeat thread for a stop, seconds.
_POLL_S: Final = 0.1


@dataclass(kw_only=True)
class Benchmarker:
    """Runs benchmarks on the device of this worker process."""

    context: WorkerContext
    store: ArtifactStore
    device: Device
    #: Set when the worker is asked to stop.
    stop: threading.Event
    #: Stage of the running attempt; heartbeats write it.
    stage: Stage = field(default=Stage.CLAIM, init=False)
    #: Time of the running attempt in each stage.
    timer: StageTimer = field(default_factory=StageTimer, init=False)
    #: Backend that is being measured; heartbeats write it.
    backend: Backend | None = field(default=None, init=False)
    #: Fault of the device; the worker takes no more work until it has recovered.
    fault: FaultOccurrence | None = field(default=None, init=False)
    #: Why the device must pause before it takes more work.
    pause_reason: str | None = field(default=None, init=False)
    _finished: bool = field(default=False, init=False)

    def run(self, claim: Claim) -> Result:
        """Return the result of one attempt at a benchmark.

        Raises:
            Failure: of class device or infrastructure.
            LeaseLostError: the attempt no longer owns the row.
            Stopped: the worker was asked to stop.
        """
        self.timer = StageTimer()
        self.backend = None
        self.enter_stage(Stage.FETCH)
        with self._heartbeats(claim) as cancelled, TemporaryDirectory(prefix="nnlite-outputs-") as folder:
            job = replace(self._job(claim.payload), outputs_folder=Path(folder))
            try:
                with self.device.loaded(job, cancelled):
                    reports = tuple(
                        report
                        for backend in backends_of(claim.payload)
                        for report in self._measured(job, backend, claim.payload, cancelled)
                    )
            except Stopped:
                if self.stop.is_set():
                    raise
                raise LeaseLostError(f"benchmark {claim.id}") from None
            except DeviceFailure as failure:
                self.fault = FaultOccurrence(failure=failure, benchmark_id=claim.id)
                raise
            report = BenchmarkReport.of(
                model_name=job.model_name,
                artifact_sha256=job.artifact_sha256,
                device=self.device.context(),
                measurements=reports,
                accuracy=accuracy_of(claim.payload),
            )
            self._store(report, claim, Path(folder))
            self._finished = True
        details = {
            "timings_ns": self.timer.timings_ns(),
            "peak_rss_kb": max((measured.peak_rss_kb or 0 for measured in reports), default=0),
        }

        def write(connection: Connection) -> list[Message]:
            if speeds := self.device.speeds.to_json():
                record_fast_speeds(connection, self.device.name, speeds)
            return record_benchmark(connection, claim, report, self.context.settings.measurement)

        return Result(write=write, details=details)

    def take_finished(self) -> bool:
        """Return whether a benchmark was finished since the last call."""
        finished, self._finished = self._finished, False
        return finished

    def after(self, claim_id: uuid.UUID) -> None:
        """Stop consuming if the device is at fault or must pause: recovery happens outside of tasks."""
        if self.stop.is_set():
            return
        if self.fault is None:
            try:
                self.pause_reason = self.device.pause_reason()
            except DeviceFailure as failure:
                self.fault = FaultOccurrence(failure=failure, benchmark_id=None)
            except Stopped:
                return
        if self.fault is not None or self.pause_reason is not None:
            stop_consuming()

    def enter_stage(self, stage: Stage) -> None:
        """Set the attempt's stage; the next heartbeat writes it."""
        self.stage = stage
        self.timer.enter(stage)

    def _measured(
        self, job: BenchmarkJob, backend: Backend, payload: Mapping[str, Any], cancelled: threading.Event
    ) -> list[MeasurementReport]:
        """Measure with each number of threads, and the accuracy with the first."""
        reports = [
            self._measure(each, backend, cancelled) for each in with_threads(job, backend, payload["threads"])
        ]
        evaluate = DeviceEvaluator(
            payload=payload,
            device=self.device,
            store=self.store,
            engine=self.context.engine,
            settings=self.context.settings,
        )
        if not evaluate.wanted or reports[0].error is not None:
            return reports
        self.enter_stage(Stage.EVALUATE)
        try:
            accuracy = evaluate(replace(job, threads=reports[0].threads), reports[0], cancelled)
        except StoreError as error:
            raise Failure(FailureClass.INFRASTRUCTURE, Stage.EVALUATE, str(error)) from error
        return [reports[0].model_copy(update={"accuracy": accuracy}), *reports[1:]]

    def _measure(self, job: BenchmarkJob, backend: Backend, cancelled: threading.Event) -> MeasurementReport:
        self.backend = backend
        try:
            job = with_cores(job, backend, self.device, self.context.settings.measurement, cancelled)
            check_cores(job, backend, self.device, self.context.settings.measurement)
            report = self.device.run(job, backend, stop=cancelled)
        except RuntimeRefusal as refused:
            log.info("not measured", backend=backend, threads=job.threads, reason=refused.reason)
            return refused.report
        if report.latency is None:  # further passes would tell a withheld one
            return report
        profile = self.device.profile(job, backend, stop=cancelled) if job.profile else None
        tolerance = self.context.settings.measurement.shape_tolerance
        passes = passes_of(self.device, job, backend, tolerance, cancelled)
        return report.model_copy(update={"profile": profile, **passes})

    def _store(self, report: BenchmarkReport, claim: Claim, outputs: Path) -> None:
        """Store the device's outputs, and the whole report for readers without access to Postgres.

        Before the rows are written: a report without rows is replaced by the next attempt's, but rows without
        a report would stay so.
        """
        self.backend = None
        self.enter_stage(Stage.STORE)
        name = f"{report.model_name}-{report.precision}-{report.device.pool}"
        content = report.model_dump_json(indent=1).encode()
        try:
            for file in outputs.iterdir():
                self.store.put(file, OUTPUT_SUFFIX)
            self.store.put_report(
                content, campaign=claim.payload["campaign"], name=name, benchmark_id=claim.id
            )
        except StoreError as error:
            raise Failure(FailureClass.INFRASTRUCTURE, Stage.STORE, str(error)) from error

    def _job(self, payload: Mapping[str, Any]) -> BenchmarkJob:
        artifact = from_row(Artifact, payload["artifact"])
        try:
            file = self._fetch(payload, artifact.path)
            expected = tuple(self._fetch(payload, path) for path in artifact.reference_outputs)
        except StoreError as error:
            raise Failure(FailureClass.INFRASTRUCTURE, Stage.FETCH, str(error)) from error
        job = job_of(artifact, payload["model"], file, expected, Mode(payload["mode"]))
        return replace(
            job,
            profile=payload["profile"],
            passes={stage: payload["passes"][stage] for stage in PASSES if stage in payload["passes"]},
            asked_cores=payload["cores"] or "",
        )

    def _fetch(self, payload: Mapping[str, Any], path: str) -> Path:
        """Return a file of the store; requeue the conversion if the file is missing or damaged."""
        try:
            return self.store.fetch(path)
        except ArtifactGoneError as error:
            self.store.discard(path)
            with self.context.engine.begin() as connection:
                connection.execute(_CONVERT_AGAIN, {"id": payload["conversion_id"]})
                state = connection.scalar(_CONVERSION_STATE, {"id": payload["conversion_id"]})
                if state in ENDED_STATES:
                    reason = f"{error}, and the conversion that made it ended as {state}"
                    raise Failure(FailureClass.MODEL, Stage.FETCH, reason) from error
                messages = leases.build_messages(connection, WorkKind.CONVERSION, [payload["conversion_id"]])
            send(self.context.broker, messages)
            reason = f"{error}; the model is converted again"
            raise Failure(FailureClass.INFRASTRUCTURE, Stage.FETCH, reason) from error

    @contextmanager
    def _heartbeats(self, claim: Claim) -> Iterator[threading.Event]:
        """Renew the lease in a thread; yields the event that cancels the run: stop, or lease lost."""
        cancelled = threading.Event()
        done = threading.Event()
        thread = threading.Thread(
            target=self._send_heartbeats, args=(claim, cancelled, done), name="heartbeat", daemon=True
        )
        thread.start()
        try:
            yield cancelled
        finally:
            done.set()
            thread.join(self.context.settings.database_timeout_s)

    def _send_heartbeats(self, claim: Claim, cancelled: threading.Event, done: threading.Event) -> None:
        queue = self.context.settings.queue
        deadline_s = time.monotonic() + claim.deadline_s
        next_s = time.monotonic() + queue.heartbeat_s
        while not done.wait(_POLL_S):
            self.context.mark_progress()
            if self.stop.is_set():
                cancelled.set()
            now_s = time.monotonic()
            if now_s > deadline_s + queue.stop_timeout_s:
                # A thread cannot be killed: a run that hangs beyond all its deadlines ends with the process.
                log.error("past the deadline: ending the worker", benchmark=str(claim.id))
                os._exit(EXIT_FAULT)
            if now_s < next_s:
                continue
            next_s = now_s + queue.heartbeat_s
            try:
                renew(self.context, claim, self.stage, self.backend)
            except LeaseLostError:
                cancelled.set()


_CONVERT_AGAIN = text("""
UPDATE conversion SET state = 'queued', available_at = now(), finished_at = NULL, reason = NULL
WHERE id = :id AND state = 'done'
""")

_CONVERSION_STATE = text("SELECT state FROM conversion WHERE id = :id")
