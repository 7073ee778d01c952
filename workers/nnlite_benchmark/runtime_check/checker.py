"""Runtime check worker: polls for artifacts and runs each with the phones' version of TensorFlow Lite.

Benchmarks do not wait for the result. On a machine that also measures, the runtime is stopped during a
measurement, as conversions are.
"""

import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from nnlite.artifacts.inputs import from_raw_bytes, write_inputs
from nnlite.artifacts.refusal import refused_operator
from nnlite.artifacts.store import ArtifactGoneError, ArtifactStore, StoreError
from nnlite.db.rows import from_row
from nnlite.db.tables import Artifact
from nnlite.errors import Failure, FailureClass
from nnlite.host.cores import Cores
from nnlite.host.quiet import ConverterLock
from nnlite.queue.leases import Claim
from nnlite.queue.messages import Message
from nnlite.results.runtime_checks import CheckResult, next_check, record_check
from nnlite.vocabulary import Backend, RuntimeVerdict, Stage, WorkKind
from nnlite.worker.attempt import Heartbeat, PostgresUnreachableError, Result, WorkerContext, run_attempt
from nnlite.worker.schema_guard import SchemaChangedError
from nnlite_benchmark.device import BenchmarkJob
from nnlite_benchmark.jobs import job_of
from nnlite_benchmark.protocol.analysis.measurement import parity_with_host
from nnlite_benchmark.runtime_check.process import (
    TICK_S,
    ArtifactAnswer,
    RuntimeDiedError,
    RuntimeProcess,
    RuntimeUnusableError,
    Tick,
)

log = structlog.get_logger()

#: Time without work after which the runtime's process is ended to free its memory, seconds.
IDLE_S: Final = 60.0


@dataclass(kw_only=True)
class Checker:
    """Runs the checks of one worker process."""

    context: WorkerContext
    store: ArtifactStore
    runtime: RuntimeProcess
    runtime_version: str
    cores: Cores
    stop: threading.Event

    def run(self) -> None:
        """Check artifacts, and poll for more, until stopped."""
        last_s = time.monotonic()
        while not self.stop.is_set():
            if self.check_next():
                last_s = time.monotonic()
                continue
            if time.monotonic() - last_s > IDLE_S:
                self.runtime.close()
            self.stop.wait(self.context.settings.runtime_check.poll_s)

    def check_next(self) -> bool:
        """Make one attempt at the newest artifact without a check; return whether there was one."""
        try:
            row = next_check(self.context.engine, self.runtime_version)
        except DBAPIError as error:
            log.warning("Postgres cannot be reached", error=str(error.orig).strip())
            return False
        if row is None:
            return False
        deadline_s = self.context.settings.runtime_check_deadline_s
        try:
            run_attempt(self.context, WorkKind.RUNTIME_CHECK, row, self.check, deadline_s)
        except (PostgresUnreachableError, SchemaChangedError) as error:
            log.warning(str(error))
            return False
        return True

    def check(self, claim: Claim) -> Result:
        """Return the result of one attempt at a check.

        Raises:
            Failure: of class device or infrastructure.
            LeaseLostError: the row is no longer this attempt's.
            Stopped: the worker is stopping.
        """
        payload = claim.payload
        with (
            structlog.contextvars.bound_contextvars(artifact=payload["artifact_sha256"]),
            ConverterLock(self.context.settings.quiet, self.cores) as lock,
            tempfile.TemporaryDirectory(prefix="nnlite-check-") as folder,
        ):
            heartbeat = Heartbeat(self.context, claim)

            def tick() -> bool:
                heartbeat.tick(Stage.RUN)
                return lock.tick()

            try:
                result = self._run_artifact(payload, Path(folder), tick)
            except RuntimeDiedError as error:
                raise Failure(FailureClass.DEVICE, Stage.RUN, str(error)) from error
            except (ArtifactGoneError, StoreError, RuntimeUnusableError, OSError) as error:
                raise Failure(FailureClass.INFRASTRUCTURE, Stage.FETCH, str(error)) from error
            log.info("checked", verdict=result.verdict, reason=result.reason)

        def write(connection: Connection) -> list[Message]:
            record_check(connection, claim.id, result)
            return []

        return Result(write=write, reason=result.reason)

    def _run_artifact(self, payload: Mapping[str, Any], folder: Path, tick: Tick) -> CheckResult:
        artifact = from_row(Artifact, payload["artifact"])
        expected = tuple(map(self.store.fetch, artifact.reference_outputs))
        job = job_of(artifact, payload["artifact_sha256"], self.store.fetch(artifact.path), expected)
        inputs = write_inputs(job.inputs, job.seed, folder)
        while not tick():  # the process is not even started while it may not run
            self.stop.wait(TICK_S)
        answer = self.runtime.run(job.artifact, inputs, folder, tick)
        return _check_result(job, answer, folder)


def _check_result(job: BenchmarkJob, answer: ArtifactAnswer, folder: Path) -> CheckResult:
    """Return the verdict on an artifact: refused, the same outputs as on the host, or different ones.

    Raises:
        RuntimeDiedError: its outputs cannot be read.
    """
    if answer.refusal is not None:
        operator, version = refused_operator(answer.refusal)
        return CheckResult(
            verdict=RuntimeVerdict.REFUSED,
            operator=operator,
            operator_version=version or answer.operators.get(operator or ""),
            reason=answer.refusal,
        )
    try:
        outputs = [
            from_raw_bytes((folder / output.file).read_bytes(), output.shape, output.dtype)
            for output in answer.outputs
        ]
    except (OSError, ValueError, TypeError) as error:
        raise RuntimeDiedError(f"the runtime wrote outputs that cannot be read: {error}") from error
    parity = parity_with_host(job, Backend.CPU, outputs)
    if parity is None:
        return CheckResult(
            verdict=RuntimeVerdict.ACCEPTED, reason="it runs; there is nothing to compare with"
        )
    off = None if parity.worst is None else f"{parity.worst:.2g}"
    return CheckResult(
        verdict=RuntimeVerdict.ACCEPTED if parity.ok else RuntimeVerdict.DIFFERENT,
        reason=None if parity.ok else f"{parity.rule}: {off or 'not the same'}, limit {parity.limit:g}",
        parity=parity.model_dump(mode="json"),
    )
