"""One conversion as the queue sees it: from a claim to the rows that end it.

Looks into the cache, else converts in a child while heartbeats go on, and
stores what came out. What happens inside the child is `conversion`'s.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text

from nnlite.artifacts import ArtifactGoneError, ArtifactStore, StoreError, content_path
from nnlite.catalog.model import ModelInput, ModelSpec
from nnlite.failures import Failure, FailureClass
from nnlite.queue.leases import Claim
from nnlite.queue.work import Result, Station, renew
from nnlite.quiet import ConverterTurn, Cores, Stopped
from nnlite.results.database import autocommit
from nnlite.results.recording import (
    ArtifactRow,
    ConvertedModel,
    cached_artifacts,
    record_conversion,
    record_left_out,
)
from nnlite.vocabulary import Layout, ModelForm, Precision, Stage, WorkState
from nnlite_conversion.cache import cache_key, converter
from nnlite_conversion.conversion import convert
from nnlite_conversion.outcome import ConversionJob, ConversionOutcome, ConvertedArtifact


@dataclass(frozen=True, kw_only=True)
class Converter:
    """Performs conversions for one worker process."""

    #: Returns this process's station.
    station: Callable[[], Station]
    store: ArtifactStore
    cores: Cores

    def perform(self, claim: Claim) -> Result:
        """Return the result of one attempt at a conversion.

        Raises:
            Failure: of class model, converter or infrastructure.
            RightLostError: the row is no longer this attempt's.
            Stopped: the worker was told to stop.
        """
        station = self.station()
        work = claim.work
        keys = {
            precision: cache_key(work["identity"], precision)
            for precision in map(Precision, work["precisions"])
        }
        try:
            if cached := self._cached(station, list(keys.values())):
                return _done(claim, cached, cached=True)
            spec = _spec(station, claim)
            # A fork must not inherit connections: the child's end would end them for us as well.
            station.engine.dispose()
            station.messenger.close()
            return self._convert(station, claim, spec, keys)
        except StoreError as error:
            raise Failure(FailureClass.INFRASTRUCTURE, Stage.STORE, str(error)) from error

    def _cached(self, station: Station, keys: list[str]) -> list[ArtifactRow] | None:
        """Return the artifacts of `keys` if all are known and in the store."""
        known = cached_artifacts(station.engine, keys)
        if len(known) < len(keys):
            return None
        there = all(
            self.store.holds(row.path, row.size_bytes) and all(map(self.store.holds, row.reference_outputs))
            for row in known
        )
        return known if there else None

    def _convert(
        self,
        station: Station,
        claim: Claim,
        spec: ModelSpec,
        keys: dict[Precision, str],
    ) -> Result:
        settings = station.settings
        job = ConversionJob(
            model=spec,
            model_file=self._file(spec),
            precisions=tuple(keys),
            max_parameters=claim.work["max_parameters"],
            variable_size=settings.catalog.variable_size,
        )
        with (
            ConverterTurn(settings.home, self.cores) as turn,
            convert(
                job,
                settings.conversion,
                workdir=settings.home / "conversions",
                ledger=settings.home / "conversions" / "ledger",
                tick=(supervision := Supervision(station, claim, turn)).tick,
            ) as outcome,
        ):
            if outcome.left_out is not None:
                return Result(
                    write=lambda connection: record_left_out(connection, claim, outcome.parameters),
                    state=WorkState.LEFT_OUT,
                    reason=outcome.left_out,
                    details=_details(outcome),
                )
            supervision.beat(Stage.STORE)  # a whole lease for storing, however long ago the last one was
            rows = [self._store(artifact, outcome, claim, keys, job) for artifact in outcome.artifacts]
            return _done(claim, rows, cached=False, details=_details(outcome))

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
        claim: Claim,
        keys: dict[Precision, str],
        job: ConversionJob,
    ) -> ArtifactRow:
        return ArtifactRow(
            cache_key=keys[artifact.precision],
            identity=claim.work["identity"],
            precision=artifact.precision.value,
            sha256=artifact.sha256,
            size_bytes=artifact.size_bytes,
            path=self.store.put(artifact.path, ".tflite"),
            converter=converter(),
            rewrites=list(artifact.rewrites),
            operators=dict(artifact.operators),
            inputs={"tensors": [asdict(tensor) for tensor in artifact.inputs]},
            outputs={"tensors": [asdict(tensor) for tensor in artifact.outputs]},
            reference_outputs=[self.store.put(path, ".bin") for path in artifact.reference_outputs],
            seed=job.seed,
            parity_ok=artifact.parity.ok,
            parity=asdict(artifact.parity),
            parameters=outcome.parameters,
            state_dict_sha256=outcome.state_dict_sha256,
            input_shape=list(outcome.input_shape),
            timings_ns={stage.value: ns for stage, ns in outcome.timings_ns.items()},
            peak_rss_kb=outcome.peak_rss_kb,
        )


class Supervision:
    """What the loop that watches the child does besides: heartbeat, stop, quiet.

    Args:
        station: of this process.
        claim: whose lease is renewed.
        turn: of quiet.
    """

    def __init__(self, station: Station, claim: Claim, turn: ConverterTurn) -> None:
        self._station = station
        self._claim = claim
        self._turn = turn
        self._beat_s = time.monotonic()

    def tick(self, stage: Stage) -> bool:
        """Return whether the child may run now.

        Raises:
            RightLostError: the row is no longer this attempt's.
            Stopped: the worker was told to stop.
        """
        self._station.alive()
        if self._station.stopping():
            raise Stopped("the worker was told to stop")
        if time.monotonic() - self._beat_s >= self._station.settings.queue.heartbeat_s:
            self.beat(stage)
        return self._turn.tick()

    def beat(self, stage: Stage) -> None:
        """Renew the lease now.

        Raises:
            RightLostError: the row is no longer this attempt's.
        """
        self._beat_s = time.monotonic()
        renew(self._station, self._claim, stage)


def _spec(station: Station, claim: Claim) -> ModelSpec:
    with autocommit(station.engine) as connection:
        row = connection.execute(_SPEC, {"id": claim.id}).mappings().one()
    shape = row["input_shape"]
    tensors = row["inputs"]["tensors"] if row["inputs"] else []
    return ModelSpec(
        name=claim.work["model"],
        code=row["code"],
        transform_code=row["transform_code"],
        transform=row["transform"],
        task=row["task"],
        dataset=row["dataset"],
        hyperparameters=row["hyperparameters"],
        # Of models of files it is what a conversion found, and says nothing of how to build them.
        input_shape=(shape[0], shape[1], shape[2], shape[3]) if shape and len(shape) == 4 else None,
        input_dtype=row["input_dtype"],
        classes=row["classes"],
        weights=row["weights"],
        inputs=tuple(ModelInput(shape=tuple(each["shape"]), dtype=each["dtype"]) for each in tensors),
        layout=Layout(row["layout"]),
        form=ModelForm(row["form"]),
        entry=row["entry"],
        weights_suffix=row["weights_suffix"],
    )


def _done(
    claim: Claim,
    rows: Sequence[ArtifactRow],
    *,
    cached: bool,
    details: dict[str, Any] | None = None,
) -> Result:
    model = ConvertedModel(
        name=claim.work["model"], priority=claim.work["priority"], pools=claim.work["pools"], cached=cached
    )
    return Result(
        write=lambda connection: record_conversion(connection, claim, model, rows), details=details or {}
    )


def _details(outcome: ConversionOutcome) -> dict[str, Any]:
    return {
        "timings_ns": {stage.value: ns for stage, ns in outcome.timings_ns.items()},
        "peak_rss_kb": outcome.peak_rss_kb,
        **({"accelerated": asdict(outcome.accelerated)} if outcome.accelerated else {}),
    }


_SPEC = text("""
SELECT k.text AS code, t.text AS transform_code, m.transform, m.task, m.dataset, m.hyperparameters,
       m.input_shape, m.input_dtype, m.classes, m.weights,
       m.inputs, m.layout, m.form, m.entry, m.weights_suffix
FROM conversion v JOIN model m ON m.id = v.model_id
LEFT JOIN code k ON k.sha256 = m.code_sha256 LEFT JOIN code t ON t.sha256 = m.transform_sha256
WHERE v.id = :id
""")
