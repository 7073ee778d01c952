"""The result of an attempt at a conversion: what was found in the cache, and what the attempt has made."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from nnlite.db.tables import Artifact, Evaluation
from nnlite.queue.leases import Claim
from nnlite.queue.messages import Message
from nnlite.results.evaluations import record_evaluations
from nnlite.results.recording import ConvertedModel, record_conversion
from nnlite.vocabulary import Backend
from nnlite.worker.attempt import Result
from nnlite_conversion.plan import CacheLookup, ConversionPlan


@dataclass
class ModelResult:
    """What an attempt has of its model so far."""

    claim: Claim
    plan: ConversionPlan
    cached: CacheLookup
    #: Made by this attempt; None: everything was in the cache.
    created: CacheLookup | None = None
    details: dict[str, Any] = field(default_factory=dict)
    evaluations: list[Evaluation] = field(default_factory=list)

    @property
    def _parts(self) -> list[CacheLookup]:
        return [part for part in (self.created, self.cached) if part is not None]

    @property
    def artifacts(self) -> list[Artifact]:
        """The artifacts that the campaign wants: those created by this attempt, then the cached ones."""
        return [
            part.artifacts[key]
            for part in self._parts
            for key in self.plan.distinct_keys
            if key in part.artifacts
        ]

    def as_result(self) -> Result:
        """Return the result that writes all of it."""
        refused = [
            part.refused[key]
            for part in self._parts
            for key in self.plan.distinct_keys
            if key in part.refused
        ]
        model = ConvertedModel(
            name=self.claim.payload["model"],
            priority=self.claim.payload["priority"],
            pools=self.claim.payload["pools"],
            backends=tuple(map(Backend, self.claim.payload["backends"])),
            cached=self.created is None,
        )

        def write(connection: Connection) -> list[Message]:
            messages = record_conversion(connection, self.claim, model, self.artifacts, refused)
            record_evaluations(connection, self.evaluations)
            return messages

        return Result(write=write, details=self.details)
