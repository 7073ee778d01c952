"""Checks artifacts with the phones' runtime, one after another, as long as there are some: claim to row.

It informs and gates nothing: benchmarks do not wait for it. On a machine that also measures, it is held like
a conversion while a measurement runs.
"""

import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from nnlite.artifacts.inputs import artifact_inputs, from_raw_bytes, raw_bytes
from nnlite.artifacts.store import ArtifactGoneError, ArtifactStore, StoreError
from nnlite.db.rows import from_row
from nnlite.db.tables import Artifact
from nnlite.errors import Failure, FailureClass, Stopped
from nnlite.host.cores import Cores
from nnlite.host.quiet import ConverterLock
from nnlite.queue.leases import LeaseLostError
from nnlite.queue.retry import Limits, decide
from nnlite.results import runtime_checks
from nnlite.results.runtime_checks import CheckClaim, Checked
from nnlite.settings import Settings
from nnlite.vocabulary import Backend, RuntimeVerdict, Stage
from nnlite_benchmark.benchmarker import job_of
from nnlite_benchmark.device import BenchmarkJob
from nnlite_benchmark.protocol.measurement import parity_with_host
from nnlite_benchmark.runtime_check.process import (
    TICK_S,
    CommandResult,
    RuntimeDiedError,
    RuntimeProcess,
    RuntimeUnusableError,
)
from nnlite_benchmark.runtime_check.refusal import refused_operator

log = structlog.get_logger()

#: Without work for so long, the runtime's process and its memory are let go of, seconds.
IDLE_S: Final = 60.0


@dataclass(kw_only=True)
class Checker:
    """Checks for one worker process."""

    engine: Engine
    store: ArtifactStore
    runtime: RuntimeProcess
    runtime_version: str
    settings: Settings
    cores: Cores
    node: str
    stop: threading.Event

    def work(self) -> None:
        """Check what there is and wait for more, until stopped."""
        worked_s = time.monotonic()
        while not self.stop.is_set():
            try:
                claim = self._claim()
            except DBAPIError as error:
                log.warning("Postgres cannot be reached", error=str(error.orig).strip())
                claim = None
            if claim is not None:
                self.check(claim)
                worked_s = time.monotonic()
                continue
            if time.monotonic() - worked_s > IDLE_S:
                self.runtime.close()
            self.stop.wait(self.settings.runtime_check.poll_s)

    def check(self, claim: CheckClaim) -> None:
        """Make one attempt at a claimed row and write how it ended."""
        with structlog.contextvars.bound_contextvars(artifact=claim.artifact_sha256, attempt=claim.attempt):
            end: Checked | Failure
            try:
                end = self._checked(claim)
            except LeaseLostError:
                log.info("right lost; nothing was written")
                return
            except Stopped:
                end = Failure(FailureClass.RELEASED, Stage.RUN, "the worker stopped gracefully")
            except Failure as failure:
                end = failure
            self._write(claim, end)

    def _claim(self) -> CheckClaim | None:
        return runtime_checks.claim(self.engine, self.runtime_version, self.node, self.settings.queue.lease_s)

    def _checked(self, claim: CheckClaim) -> Checked:
        if claim.losses >= Limits.of(self.settings.queue).max_losses:
            raise Failure(FailureClass.LOST, Stage.CLAIM, f"its worker vanished {claim.losses} times")
        with (
            ConverterLock(self.settings.quiet, self.cores) as turn,
            tempfile.TemporaryDirectory(prefix="nnlite-check-") as made,
        ):
            folder, held = Path(made), _Held(self, claim, turn)
            try:
                job = self._job(claim)
                inputs = _written_inputs(job, folder)
                while not held.tick():  # a process that may not run is not even started
                    self.stop.wait(TICK_S)
                answer = self.runtime.run(job.artifact, inputs, folder, held.tick)
                return _judged(job, answer, folder)
            except RuntimeDiedError as error:
                raise Failure(FailureClass.DEVICE, Stage.RUN, str(error)) from error
            except (ArtifactGoneError, StoreError, RuntimeUnusableError, OSError) as error:
                raise Failure(FailureClass.INFRASTRUCTURE, Stage.FETCH, str(error)) from error

    def _job(self, claim: CheckClaim) -> BenchmarkJob:
        artifact = from_row(Artifact, claim.artifact)
        expected = tuple(map(self.store.fetch, artifact.reference_outputs))
        return job_of(artifact, claim.artifact_sha256, self.store.fetch(artifact.path), expected)

    def _write(self, claim: CheckClaim, end: Checked | Failure) -> None:
        """Write the end, again and again while Postgres cannot be reached, until stopped."""
        while True:
            try:
                self._write_once(claim, end)
            except LeaseLostError:
                log.info("right lost; nothing was written")
            except (DataError, IntegrityError) as error:
                if isinstance(end, Failure):
                    raise
                reason = f"the result cannot be stored: {str(error.orig).strip()}"
                end = Failure(FailureClass.DEVICE, Stage.STORE, reason)
                continue
            except DBAPIError as error:
                log.warning("Postgres cannot be reached; trying again", error=str(error.orig).strip())
                if not self.stop.wait(self.settings.runtime_check.poll_s):
                    continue
            return

    def _write_once(self, claim: CheckClaim, end: Checked | Failure) -> None:
        if isinstance(end, Checked):
            runtime_checks.finish(self.engine, claim, end)
            log.info("checked", verdict=end.verdict, reason=end.reason)
            return
        decision = decide(end.failure_class, claim.counters, Limits.of(self.settings.queue))
        runtime_checks.fail(self.engine, claim, end, decision)
        log.info("not checked", failure=end.failure_class, reason=end.reason, then=decision.state)


class _Held:
    """What goes on while the runtime works: heartbeat, stop, quiet."""

    def __init__(self, checker: Checker, claim: CheckClaim, turn: ConverterLock) -> None:
        self._checker = checker
        self._claim = claim
        self._turn = turn
        self._beat_s = time.monotonic()

    def tick(self) -> bool:
        """Return whether the runtime may run now.

        Raises:
            LeaseLostError: the row is another attempt's.
            Stopped: the worker was told to stop.
        """
        if self._checker.stop.is_set():
            raise Stopped("the worker was told to stop")
        queue = self._checker.settings.queue
        if time.monotonic() - self._beat_s >= queue.heartbeat_s:
            self._beat_s = time.monotonic()
            try:
                runtime_checks.renew(self._checker.engine, self._claim, queue.lease_s)
            except DBAPIError as error:
                log.warning("no heartbeat: Postgres cannot be reached", error=str(error.orig).strip())
        return self._turn.tick()


def _written_inputs(job: BenchmarkJob, folder: Path) -> list[Path]:
    files = []
    for number, tensor in enumerate(artifact_inputs(job.inputs, job.seed)):
        file = folder / f"input_{number}.raw"
        file.write_bytes(raw_bytes(tensor))
        files.append(file)
    return files


def _judged(job: BenchmarkJob, answer: CommandResult, folder: Path) -> Checked:
    """Return what an answer means: refused, the same as on the host, or different.

    Raises:
        RuntimeDiedError: its outputs are not what it says.
    """
    if answer.refusal is not None:
        operator, version = refused_operator(answer.refusal)
        return Checked(
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
        return Checked(verdict=RuntimeVerdict.ACCEPTED, reason="it runs; there is nothing to compare with")
    off = None if parity.worst is None else f"{parity.worst:.2g}"
    return Checked(
        verdict=RuntimeVerdict.ACCEPTED if parity.ok else RuntimeVerdict.DIFFERENT,
        reason=None if parity.ok else f"{parity.rule}: {off or 'not the same'}, limit {parity.limit:g}",
        parity=parity.model_dump(mode="json"),
    )
