"""Answers generators: submits the models of a question, and ranks them as results arrive."""

import threading
import time
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine

from nnlite.campaigns.growing import GrowingCampaign
from nnlite.campaigns.outlook import outlook
from nnlite.campaigns.request import Request
from nnlite.campaigns.sample_choice import chosen_calibration
from nnlite.errors import Unavailable
from nnlite.queue.messages import BrokerClient
from nnlite.ranking.question import Candidates, Question
from nnlite.results.ranking import RankOptions, ranking, version
from nnlite.results.reading import Row
from nnlite.settings import Settings

#: Between two looks at the database for one that waits, seconds.
_POLL_S: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class RankService:
    """Answers questions about models from one cluster. Its methods may be called from several threads."""

    settings: Settings
    engine: Engine
    broker: BrokerClient
    #: Set: nobody waits any longer.
    stopping: threading.Event

    def rank_these(self, question: Question) -> Row:
        """Submit the models of a question, if they are not there yet, and return what is known of them.

        Raises:
            RequestError: the campaign is of another request, or is cancelled; nothing was submitted.
            NnliteError: a server or the store cannot be used; nothing was submitted.
        """
        source = Candidates(self.settings, question)
        models = source.models()
        request = Request(
            source=source.name,
            precisions=question.precisions,
            pools=question.pools,
            backends=question.backends,
            mode=question.mode,
            threads=tuple(sorted(set(question.threads))),
            calibration=chosen_calibration(None, question.precisions, self.settings),
        )
        campaign = GrowingCampaign.open(
            self.engine,
            self.broker,
            request,
            source=source,
            settings=self.settings,
            name=question.name,
            priority=question.priority,
        )
        campaign.add(models)
        named = [
            {"name": candidate.name, "model": model.name, "skipped": model.skipped}
            for candidate, model in zip(question.models, models, strict=True)
        ]
        return {"asked": named} | self.rank(campaign.name)

    def rank(self, campaign: str, options: RankOptions | None = None) -> Row:
        """Return the ranking of a campaign as it is now, and what keeps the rest from being measured.

        Raises:
            CampaignError: no campaign is named so.
        """
        found = ranking(self.engine, campaign, options)
        return found | {"obstacles": [] if found["ended"] else self._obstacles(campaign)}

    def wait_for_rank(
        self, campaign: str, options: RankOptions | None = None, *, seen: str | None, timeout_s: float
    ) -> Row:
        """Return the ranking once it is another than the one with the version `seen`, or has ended.

        Without `seen` that is when all work has ended. After `timeout_s` it is returned as it is.

        Raises:
            CampaignError: no campaign is named so.
        """
        deadline_s = time.monotonic() + timeout_s
        found = self.rank(campaign, options)
        while not found["ended"] and seen in (None, found["version"]):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or self.stopping.wait(min(_POLL_S, left_s)):
                break
            if version(self.engine, campaign) != found["version"]:
                found = self.rank(campaign, options)
        return found

    def _obstacles(self, campaign: str) -> list[str]:
        """Return sentences, each with what to do; empty: workers can go on."""
        try:
            return [*outlook(self.engine, campaign, self.broker.served_queues()).obstacles]
        except Unavailable as error:
            return [str(error)]
