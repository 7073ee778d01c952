"""Growing campaigns: they start empty, and get models as a generator makes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Engine, text

from nnlite.campaigns.request import Request, RequestConflict
from nnlite.campaigns.submit import store_files, submit, write_rows
from nnlite.catalog.model import CatalogModel, ModelSource
from nnlite.queue.messages import BrokerClient
from nnlite.settings import Settings
from nnlite.vocabulary import CampaignState
from nnlite.worker.attempt import send


@dataclass(frozen=True, kw_only=True)
class GrowingCampaign:
    """A campaign that models of one source are added to."""

    engine: Engine
    broker: BrokerClient
    source: ModelSource
    settings: Settings
    name: str

    @classmethod
    def open(
        cls,
        engine: Engine,
        broker: BrokerClient,
        request: Request,
        *,
        source: ModelSource,
        settings: Settings,
        name: str | None,
        priority: int,
    ) -> Self:
        """Return the campaign of `request`, which is made, without models, if it is new.

        Raises:
            RequestError: as `submit`.
            DatabaseError: Postgres cannot be reached.
        """
        submitted = submit(
            engine, broker, request, models=(), source=source, settings=settings, name=name,
            priority=priority, growing=True,
        )  # fmt: skip
        return cls(engine=engine, broker=broker, source=source, settings=settings, name=submitted.name)

    def add(self, models: Sequence[CatalogModel]) -> list[CatalogModel]:
        """Add `models`, send their messages, and return those that are new to the campaign.

        Raises:
            RequestError: the campaign no longer exists, or is cancelled.
            StoreError: the models' files cannot be stored; nothing was added.
        """
        store_files(models, self.source, self.settings)
        with self.engine.begin() as connection:
            row = connection.execute(_CAMPAIGN, {"name": self.name}).first()
            if row is None or row.state == CampaignState.CANCELLED:
                state = "gone" if row is None else row.state
                raise RequestConflict(
                    f"campaign {self.name!r} is {state} and takes no more models; choose another --name"
                )
            written = write_rows(connection, row.id, row.priority, models, self.source)
        send(self.broker, written.messages)
        return written.added


# Locked, so that it cannot be cancelled before the rows are written.
_CAMPAIGN = text("SELECT id, state, priority FROM campaign WHERE name = :name FOR SHARE")
