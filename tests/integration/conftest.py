"""A cluster without workers: a migrated database, an empty broker, and what tests ask of both."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from nnlite.campaigns.request import Request
from nnlite.campaigns.submit import Submitted, submit
from nnlite.db.engine import engine_for
from nnlite.queue import leases
from nnlite.queue.leases import Claim
from nnlite.queue.messages import BrokerClient
from nnlite.queue.owner import Instance, Owner
from nnlite.settings import Settings
from nnlite.vocabulary import WorkKind
from toys import Toys
from unit.catalog.copies import MODEL, Lemur, trial
from waiting import HANG_S, NEVER_S


@dataclass
class Cluster:
    """Postgres and Redis as a test sees them."""

    engine: Engine
    broker: BrokerClient
    settings: Settings
    toys: Toys = field(default_factory=Toys)
    _names: Iterator[int] = field(default_factory=count)

    def submit(self, *names: str, name: str | None = None, priority: int = 5, **request: Any) -> Submitted:
        known = {model.name: model for model in self.toys.models()}
        models = [known.get(model) or self.toys.add(model) for model in names]
        return submit(
            self.engine,
            self.broker,
            Request(source="toys", models=names, **request),
            models=models,
            source=self.toys,
            settings=self.settings,
            name=name or f"campaign-{next(self._names)}",
            priority=priority,
        )

    def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        # Without a transaction around it, which would take two further round trips.
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            return [dict(row) for row in connection.execute(text(statement), parameters).mappings()]

    def change(self, statement: str, **parameters: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), parameters)

    def conversion(self, campaign: uuid.UUID) -> dict[str, Any]:
        (row,) = self.rows("SELECT * FROM conversion WHERE campaign_id = :id", id=campaign)
        return row

    def attempts(self, row: uuid.UUID) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM attempt WHERE work_id = :id ORDER BY number", id=row)

    def claim(
        self, row: uuid.UUID, owner: Owner | None = None, lease_s: float = HANG_S, deadline_s: float = NEVER_S
    ) -> Claim | None:
        return leases.claim(
            self.engine,
            WorkKind.CONVERSION,
            row,
            owner or living_owner(),
            lease_s=lease_s,
            deadline_s=deadline_s,
        )

    def end_lease(self, row: uuid.UUID) -> None:
        """Let the time of the lease pass."""
        self.change("UPDATE conversion SET lease_until = now() - interval '1 s' WHERE id = :id", id=row)

    def ready(self, queue: str = "convert") -> int:
        return self.broker.ready(queue)

    def empty_broker(self) -> None:
        self.broker.redis.flushdb()


def living_owner(node: str = "convert@here") -> Owner:
    """This test's own process."""
    return Owner(node=node, instance=Instance.current())


def dead_owner(node: str = "convert@here") -> Owner:
    """A process of this host whose PID is now somebody else's."""
    living = Instance.current()
    return Owner(node=node, instance=replace(living, start_time=living.start_time - 1))


@pytest.fixture(scope="session")
def small_lemur(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LEMUR of six models, one of them skipped."""
    lemur = Lemur()
    # Each with code of its own: models that differ in name alone share an artifact.
    for name in ("ResNet", "DarkNet", "BagNet"):
        lemur.trained(name, trial(f"trial of {name}"), code=f"# {name}\n{MODEL}")
    for name in ("ga-1", "ga-2"):
        lemur.untrained(name, code=f"# {name}\n{MODEL}")
    lemur.models["Talker"] = "class Net: pass"
    lemur.trials["txt-image_coco_clip_Talker", 1] = [trial("t")]
    return lemur.folder(tmp_path_factory.mktemp("lemur"))


@pytest.fixture
def cluster(database_url: str, broker_url: str, tmp_path: Path, small_lemur: Path) -> Iterator[Cluster]:
    """A cluster without workers."""
    settings = Settings(
        home=tmp_path,
        database_url=database_url,
        broker_url=broker_url,
        broker_timeout_s=HANG_S,
        lemur=small_lemur,
        _env_file=None,
    )
    engine = engine_for(database_url)
    broker = BrokerClient(broker_url, settings.broker_timeout_s)
    yield Cluster(engine, broker, settings)
    broker.close()
    engine.dispose()
