"""Any interleaving of claims, lost heartbeats, late writes, redelivery, cancelling and reaping.

The model of the test is the set of claims that workers hold in their hands.
Postgres decides who may write; the invariants say what must hold after every step.
"""

from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from sqlalchemy import text

from integration.conftest import Cluster, dead_owner, living_owner
from nnlite.campaigns import control
from nnlite.campaigns.request import RequestConflict
from nnlite.errors import Failure, FailureClass
from nnlite.queue import leases
from nnlite.queue.leases import Claim, LeaseLostError
from nnlite.settings.groups import QueueSettings
from nnlite.vocabulary import CampaignState, Stage, WorkKind, WorkState

LIMITS = QueueSettings(max_strikes=3, max_losses=4)
KIND = WorkKind.CONVERSION

#: The row with its history, and how many results it has.
_ROW = """
SELECT state, attempt, strikes, losses,
       (SELECT count(*) FROM code WHERE sha256 LIKE :prefix) AS results,
       (SELECT coalesce(json_agg(seen ORDER BY number), '[]')
        FROM (SELECT number, outcome, ended_at IS NULL AS open
              FROM attempt WHERE work_id = conversion.id) seen
       ) AS history
FROM conversion WHERE id = :id
"""


class OneRow(RuleBasedStateMachine):
    """One conversion, and workers that may be alive, dead or late."""

    cluster: ClassVar[Cluster]
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        submitted = self.cluster.submit("one")
        self.name = submitted.name
        self.row = self.cluster.conversion(submitted.id)["id"]
        self.holder: Claim | None = None
        self.results: list[int] = []
        #: As it was after the last step.
        self.row_now: dict[str, Any] = {}

    def teardown(self) -> None:
        # Campaigns of later examples convert the same model; one at a time may.
        control.cancel(self.cluster.engine, self.name)

    @rule(target=claims, alive=st.booleans())
    def claim(self, alive: bool) -> object:
        claim = self.cluster.claim(self.row, living_owner() if alive else dead_owner())
        assert (claim is not None) == (self.row_now["state"] == "queued")
        if claim is None:
            return multiple()
        self.holder = claim
        return claim

    @rule(claim=claims)
    def heartbeat(self, claim: Claim) -> None:
        self._as_holder(claim, lambda: leases.heartbeat(self.cluster.engine, claim, 30))

    @rule(claim=consumes(claims))
    def finish(self, claim: Claim) -> None:
        def write(connection: object) -> list:
            connection.execute(
                text("INSERT INTO code VALUES (:key, 'result')"), {"key": f"{claim.id}/{claim.attempt}"}
            )
            return []

        if self._as_holder(claim, lambda: leases.finish(self.cluster.engine, claim, write)):
            self.results.append(claim.attempt)
            self.holder = None

    @rule(claim=consumes(claims), failure_class=st.sampled_from(FailureClass))
    def fail(self, claim: Claim, failure_class: FailureClass) -> None:
        failure = Failure(failure_class, Stage.LOWER, "as the test wants it")
        if self._as_holder(claim, lambda: leases.fail(self.cluster.engine, claim, failure, LIMITS)):
            self.holder = None
            self.cluster.change("UPDATE conversion SET available_at = now()")

    @rule()
    def lease_ends(self) -> None:
        if self.holder is not None:
            self.cluster.end_lease(self.row)

    @rule()
    def reap(self) -> None:
        leases.requeue_expired(self.cluster.engine, KIND, LIMITS)
        self._forget_lost()

    @rule()
    def redeliver(self) -> None:
        leases.requeue_of_dead_owner(self.cluster.engine, KIND, self.row, LIMITS)
        self._forget_lost()

    @rule()
    def worker_starts_again(self) -> None:
        leases.requeue_of_node(self.cluster.engine, KIND, living_owner(), LIMITS)
        self._forget_lost()

    @rule()
    def submit_again(self) -> None:
        if self._campaign_state() != CampaignState.CANCELLED:
            self.cluster.submit("one", name=self.name)
            return
        with pytest.raises(RequestConflict, match="is cancelled"):
            self.cluster.submit("one", name=self.name)

    @rule()
    def cancel(self) -> None:
        before = self.row_now["state"]
        control.cancel(self.cluster.engine, self.name)
        assert self._state() == ("cancelled" if before in {"queued", "running"} else before)
        self.holder = None

    @rule()
    def retry(self) -> None:
        states = [WorkState.CANCELLED, WorkState.QUARANTINED]
        control.retry(self.cluster.engine, self.cluster.broker, self.name, states)

    @invariant()
    def rows_are_as_the_claims_say(self) -> None:
        # One query for all of it: this is called after every step.
        (self.row_now,) = self.cluster.rows(_ROW, id=self.row, prefix=f"{self.row}/%")
        self._there_is_at_most_one_result()
        self._only_the_holder_runs()
        self._counters_are_those_of_the_history_since_the_last_retry()

    def _there_is_at_most_one_result(self) -> None:
        assert self.row_now["results"] == len(self.results) <= 1
        assert (self.row_now["state"] == "done") == bool(self.results)

    def _only_the_holder_runs(self) -> None:
        assert (self.row_now["state"] == "running") == (self.holder is not None)
        open_attempts = [attempt["number"] for attempt in self.row_now["history"] if attempt["open"]]
        assert open_attempts == ([self.holder.attempt] if self.holder else [])

    def _counters_are_those_of_the_history_since_the_last_retry(self) -> None:
        row, history = self.row_now, self.row_now["history"]
        assert [attempt["number"] for attempt in history] == list(range(1, row["attempt"] + 1))
        assert row["losses"] <= sum(attempt["outcome"] == "lost" for attempt in history)
        if row["state"] in {"queued", "running"}:
            assert row["strikes"] < LIMITS.max_strikes
            assert row["losses"] < LIMITS.max_losses

    def _state(self) -> str:
        (row,) = self.cluster.rows("SELECT state FROM conversion WHERE id = :id", id=self.row)
        return row["state"]

    def _campaign_state(self) -> str:
        (row,) = self.cluster.rows("SELECT state FROM campaign WHERE name = :name", name=self.name)
        return row["state"]

    def _as_holder(self, claim: Claim, act: object) -> bool:
        """Act; it must succeed for the holder, and for nobody else. Returns whether it did."""
        if claim == self.holder:
            act()
            return True
        with pytest.raises(LeaseLostError):
            act()
        return False

    def _forget_lost(self) -> None:
        if self._state() != "running":
            self.holder = None


def test_every_interleaving_leaves_one_result_and_no_late_write(cluster: Cluster) -> None:
    machine = type("Machine", (OneRow,), {"cluster": cluster})
    profile = settings(
        max_examples=60,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    machine.TestCase.settings = profile
    machine.TestCase().runTest()
