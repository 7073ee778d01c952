"""One conversion as the queue sees it: from a claim to the rows that end it.

Looks into the cache, else converts in a child while heartbeats go on, and
stores what came out. What happens inside the child is `conversion`'s.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnlite.artifacts.calibration import Calibration
from nnlite.artifacts.store import ArtifactGoneError, ArtifactStore, StoreError, content_path
from nnlite.catalog.model import ModelSpec
from nnlite.errors import Failure, FailureClass, Stopped
from nnlite.host.cores import Cores
from nnlite.host.quiet import ConverterLock
from nnlite.queue.leases import Claim
from nnlite.results.recording import (
    ArtifactRow,
    ConvertedModel,
    RefusalRow,
    cached_artifacts,
    known_refusals,
    record_conversion,
    record_skipped,
)
from nnlite.vocabulary import ModelFormat, Stage, WorkState
from nnlite.worker.attempt import Result, WorkerContext, renew
from nnlite_conversion.cache_key import converter, reader
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.outcome import ConversionJob, ConversionOutcome, ConvertedArtifact, KnownArtifact
from nnlite_conversion.plan import CacheLookup, ConversionPlan, plan_of, spec_of


@dataclass(frozen=True, kw_only=True)
class Converter:
    """Performs conversions for one worker process."""

    #: Returns this process's context.
    context: Callable[[], WorkerContext]
    store: ArtifactStore
    cores: Cores

    def perform(self, claim: Claim) -> Result:
        """Return the result of one attempt at a conversion.

        Raises:
            Failure: of class model, converter or infrastructure.
            LeaseLostError: the row is no longer this attempt's.
            Stopped: the worker was told to stop.
        """
        context = self.context()
        work = claim.work
        order = plan_of(work)
        try:
            known = self._known(context, order)
            if known.missing(order) == ():
                return _done(claim, order, known)
            spec = spec_of(context.engine, claim)
            # A fork must not inherit connections: the child's end would end them for us as well.
            context.engine.dispose()
            context.broker.close()
            return self._convert(context, claim, spec, order, known)
        except StoreError as error:
            raise Failure(FailureClass.INFRASTRUCTURE, Stage.STORE, str(error)) from error

    def _known(self, context: WorkerContext, order: ConversionPlan) -> CacheLookup:
        """Return what earlier conversions made of the same model, and what they could not make."""
        keys = {*order.wanted, order.fp32_key}
        artifacts = [row for row in cached_artifacts(context.engine, list(keys)) if self._holds(row)]
        return CacheLookup(
            artifacts={row.cache_key: row for row in artifacts},
            refused={row.cache_key: row for row in known_refusals(context.engine, list(keys))},
        )

    def _holds(self, row: ArtifactRow) -> bool:
        return self.store.holds(row.path, row.size_bytes) and all(
            map(self.store.holds, row.reference_outputs)
        )

    def _convert(
        self, context: WorkerContext, claim: Claim, spec: ModelSpec, order: ConversionPlan, known: CacheLookup
    ) -> Result:
        settings = context.settings
        job = ConversionJob(
            model=spec,
            model_file=self._file(spec),
            precisions=known.missing(order),
            calibration=order.calibration,
            calibration_file=self._calibration_file(order.calibration),
            int8_io=order.int8_io,
            fp32=self._fp32(known.artifacts.get(order.fp32_key)),
            max_parameters=claim.work["max_parameters"],
            variable_size=settings.catalog.variable_size,
        )
        with (
            ConverterLock(settings.quiet, self.cores) as turn,
            convert(
                job,
                settings.conversion,
                workdir=settings.home / "conversions",
                ledger=settings.home / "conversions" / "ledger",
                tick=(supervision := Supervision(context, claim, turn)).tick,
            ) as outcome,
        ):
            if outcome.skipped is not None:
                return Result(
                    write=lambda connection: record_skipped(connection, claim, outcome.parameters),
                    state=WorkState.SKIPPED,
                    reason=outcome.skipped,
                    details=_details(outcome),
                )
            supervision.heartbeat(Stage.STORE)  # a whole lease for storing, however long ago the last one was
            made = CacheLookup(
                artifacts={
                    row.cache_key: row
                    for row in (self._store(artifact, outcome, order, job) for artifact in outcome.artifacts)
                },
                refused={row.cache_key: row for row in _refusals(outcome, order)},
            )
            return _done(claim, order, known, made, details=_details(outcome))

    def _calibration_file(self, calibration: Calibration | None) -> Path | None:
        """Return the user's calibration data, which their submission left in the store.

        Raises:
            Failure: class `infrastructure`: they are gone or broken; submitting again brings them back.
        """
        if calibration is None or calibration.path is None:
            return None
        try:
            return self.store.fetch(calibration.path)
        except ArtifactGoneError as error:
            self.store.discard(calibration.path)
            reason = f"calibration data {calibration.name}: {error}; submit the same request again"
            raise Failure(FailureClass.INFRASTRUCTURE, Stage.FETCH, reason) from error

    def _fp32(self, row: ArtifactRow | None) -> KnownArtifact | None:
        """Return the fp32 artifact to quantize from; None: it is to be made, again where it is broken."""
        if row is None:
            return None
        try:
            return KnownArtifact(path=self.store.fetch(row.path), rewrites=tuple(row.rewrites))
        except ArtifactGoneError:
            return None

    def _file(self, spec: ModelSpec) -> Path | None:
        """Return the model's own file, which its submission left in the store."""
        if spec.weights_suffix is None:
            return None
        try:
            return self.store.fetch(content_path(spec.weights, spec.weights_suffix))
        except ArtifactGoneError as error:
            reason = f"{error}; submit the campaign again, and the file is stored again"
            raise Failure(FailureClass.INFRASTRUCTURE, Stage.FETCH, reason) from error

    def _store(
        self,
        artifact: ConvertedArtifact,
        outcome: ConversionOutcome,
        order: ConversionPlan,
        job: ConversionJob,
    ) -> ArtifactRow:
        return ArtifactRow(
            cache_key=order.keys[artifact.precision],
            identity=order.identity,
            precision=artifact.precision.value,
            sha256=artifact.sha256,
            size_bytes=artifact.size_bytes,
            path=self.store.put(artifact.path, ".tflite"),
            converter=reader() if job.model.model_format is ModelFormat.PREBUILT else converter(),
            rewrites=list(artifact.rewrites),
            operators=dict(artifact.operators),
            inputs={"tensors": [asdict(tensor) for tensor in artifact.inputs]},
            outputs={"tensors": [asdict(tensor) for tensor in artifact.outputs]},
            reference_outputs=[self.store.put(path, ".bin") for path in artifact.reference_outputs],
            seed=job.seed,
            parity_ok=artifact.parity.ok if artifact.parity else None,
            parity=asdict(artifact.parity) if artifact.parity else None,
            parameters=outcome.parameters,
            state_dict_sha256=outcome.state_dict_sha256,
            input_shape=list(outcome.input_shape),
            timings_ns={stage.value: ns for stage, ns in outcome.timings_ns.items()},
            peak_rss_kb=outcome.peak_rss_kb,
            calibration=_provenance(artifact, job),
        )


def _refusals(outcome: ConversionOutcome, order: ConversionPlan) -> list[RefusalRow]:
    return [
        RefusalRow(
            cache_key=order.keys[refused.precision],
            precision=refused.precision.value,
            converter=converter(),
            stage=refused.stage.value,
            reason=refused.reason,
            details=dict(refused.details),
        )
        for refused in outcome.refused
    ]


def _provenance(artifact: ConvertedArtifact, job: ConversionJob) -> dict[str, Any] | None:
    """Return what an artifact was calibrated on; None where it was not."""
    if not artifact.calibrated_on or job.calibration is None:
        return None
    return {
        **job.calibration.as_dict(),
        "samples": artifact.calibrated_on,
        "provenance": job.calibration.provenance(job.model.dataset),
    }


class Supervision:
    """What the loop that watches the child does besides: heartbeat, stop, quiet.

    Args:
        context: of this process.
        claim: whose lease is renewed.
        turn: of quiet.
    """

    def __init__(self, context: WorkerContext, claim: Claim, turn: ConverterLock) -> None:
        self._context = context
        self._claim = claim
        self._turn = turn
        self._beat_s = time.monotonic()

    def tick(self, stage: Stage) -> bool:
        """Return whether the child may run now.

        Raises:
            LeaseLostError: the row is no longer this attempt's.
            Stopped: the worker was told to stop.
        """
        self._context.alive()
        if self._context.stopping():
            raise Stopped("the worker was told to stop")
        if time.monotonic() - self._beat_s >= self._context.settings.queue.heartbeat_s:
            self.heartbeat(stage)
        return self._turn.tick()

    def heartbeat(self, stage: Stage) -> None:
        """Renew the lease now.

        Raises:
            LeaseLostError: the row is no longer this attempt's.
        """
        self._beat_s = time.monotonic()
        renew(self._context, self._claim, stage)


def _done(
    claim: Claim,
    order: ConversionPlan,
    known: CacheLookup,
    made: CacheLookup | None = None,
    *,
    details: dict[str, Any] | None = None,
) -> Result:
    """Return the result: what was made now before what was known."""
    places = [place for place in (made, known) if place is not None]
    rows = [place.artifacts[key] for place in places for key in order.wanted if key in place.artifacts]
    refused = [place.refused[key] for place in places for key in order.wanted if key in place.refused]
    model = ConvertedModel(
        name=claim.work["model"],
        priority=claim.work["priority"],
        pools=claim.work["pools"],
        cached=made is None,
    )
    return Result(
        write=lambda connection: record_conversion(connection, claim, model, rows, refused),
        details=details or {},
    )


def _details(outcome: ConversionOutcome) -> dict[str, Any]:
    return {
        "timings_ns": {stage.value: ns for stage, ns in outcome.timings_ns.items()},
        "peak_rss_kb": outcome.peak_rss_kb,
        **({"accelerated": asdict(outcome.accelerated)} if outcome.accelerated else {}),
    }
