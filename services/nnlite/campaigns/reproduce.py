"""Measures a result again and compares: does the new median lie within the interval of the old one?"""

import shlex
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, text

from nnlite.errors import NnliteError
from nnlite.queue import leases
from nnlite.queue.messages import BrokerClient
from nnlite.results.reading import Row, rows_of
from nnlite.results.repeats import add_reproduction
from nnlite.results.verification import Selection
from nnlite.vocabulary import CampaignState, DeviceStatus, WorkKind, WorkState
from nnlite.worker.attempt import send

#: States of a device whose worker is at work.
_SERVING = frozenset(DeviceStatus) - {DeviceStatus.STOPPED, DeviceStatus.QUARANTINED}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A result and the same measured again, for one backend and number of threads."""

    old: Row
    #: None: it gave no result.
    new: Row | None

    @property
    def inside(self) -> bool | None:
        """Whether the new median lies within the interval of the old one; None: one of them is not known."""
        low, high = self.old["interval_low_ns"], self.old["interval_high_ns"]
        if self.new is None or self.new["median_ns"] is None or low is None or high is None:
            return None
        return bool(low <= self.new["median_ns"] <= high)

    @property
    def ratio(self) -> float | None:
        """New median / old median."""
        if self.new is None or self.new["median_ns"] is None or not self.old["median_ns"]:
            return None
        return float(self.new["median_ns"] / self.old["median_ns"])


def results_to_reproduce(engine: Engine, selection: Selection) -> list[Row]:
    """Return the results of one benchmark, or one of them, as they are now: one for each backend
    and number of threads.

    Raises:
        NnliteError: none of them has a latency.
    """
    parameters = {"benchmark": selection.benchmark, "measurement": selection.measurement}
    rows = rows_of(engine, _RESULTS, parameters)
    if not any(row["median_ns"] for row in rows):
        why = "; ".join(f"{row['backend']}: {row['verdict']} ({', '.join(row['reasons'])})" for row in rows)
        raise NnliteError(f"there is no latency to reproduce; {why or 'it is not measured yet'}")
    return rows


def result_of_model(engine: Engine, model: str, precision: str) -> Selection | None:
    """Return the benchmark whose result counts for a model in one precision; None: no model has this name.

    Raises:
        NnliteError: the model has no latency, or several; the message lists their ids.
    """
    rows = rows_of(engine, _OF_MODEL, {"model": model, "precision": precision})
    if len(rows) > 1:
        ids = "; ".join(
            f"{row['benchmark_id']} ({row['campaign']}, {row['pool']}, run {row['run']}: {row['measured']})"
            for row in rows[:5]
        )
        raise NnliteError(f"{model} was measured in {precision} {len(rows)} times: name one of {ids}")
    if not rows and rows_of(engine, "SELECT 1 FROM model WHERE name = :model LIMIT 1", {"model": model}):
        raise NnliteError(f"{model} has no latency in {precision}")
    return Selection(benchmark=rows[0]["benchmark_id"]) if rows else None


def start(engine: Engine, broker: BrokerClient, benchmark: uuid.UUID) -> uuid.UUID:
    """Queue the artifact of a benchmark once more on its pool, and return the new row.

    Raises:
        NnliteError: its campaign takes no work, or the artifact is being measured already.
    """
    with engine.begin() as connection:
        row = connection.execute(_CAMPAIGN, {"id": benchmark}).one()
        if row.state == CampaignState.PAUSED:
            raise NnliteError(
                f"campaign {row.name!r} is paused; continue it: nnlite resume {shlex.quote(row.name)}"
            )
        if row.state == CampaignState.CANCELLED:
            raise NnliteError(f"campaign {row.name!r} is cancelled: nothing of it is measured any more")
        added = add_reproduction(connection, benchmark)
        if added is None:
            raise NnliteError(
                "the artifact is being measured, or waits for it; try again after "
                f"nnlite watch {shlex.quote(row.name)}"
            )
        messages = leases.build_messages(connection, WorkKind.BENCHMARK, [added])
    send(broker, messages)
    return added


def progress(engine: Engine, benchmark: uuid.UUID) -> Row:
    """Return how far a run is: its state, stage, backend, worker and reason."""
    (row,) = rows_of(engine, _PROGRESS, {"id": benchmark})
    return row


def has_ended(row: Row) -> bool:
    """Whether a run of `progress` is neither queued nor running."""
    return row["state"] not in {WorkState.QUEUED, WorkState.RUNNING}


def serving_devices(engine: Engine, pool: str) -> list[str]:
    """Return the devices of a pool that have a worker, as far as it has written; each with its state."""
    rows = rows_of(engine, _DEVICES, {"pool": pool, "states": sorted(_SERVING)})
    return [f"{row['name']} ({row['state']})" for row in rows]


def compare(engine: Engine, old: Sequence[Row], benchmark: uuid.UUID) -> list[Comparison]:
    """Return the comparison of each old result with that of a run that has ended."""
    rows = rows_of(engine, _RESULTS, {"benchmark": benchmark, "measurement": None})
    new = {(row["backend"], row["threads"]): row for row in rows}
    return [
        Comparison(old=row, new=new.get((row["backend"], row["threads"]))) for row in old if row["median_ns"]
    ]


# By identity: models that are the same in all but their name share one measurement.
_RESULTS = """
SELECT DISTINCT ON (r.backend, r.threads)
       x.id AS measurement_id, r.benchmark_id, r.campaign, r.model, r.precision, r.pool, r.backend, r.threads,
       r.device, r.run, r.mode, r.verdict, r.reasons, r.noise_cause, r.median_ns, r.interval_low_ns,
       r.interval_high_ns, r.between_runs, r.interval_pairs, r.created_at
FROM measurement_run r JOIN measurement x
    ON x.benchmark_id = r.benchmark_id AND x.backend = r.backend AND x.threads = r.threads
WHERE (CAST(:benchmark AS uuid) IS NULL OR r.benchmark_id = :benchmark)
  AND (CAST(:measurement AS uuid) IS NULL OR x.id = :measurement)
ORDER BY r.backend, r.threads, x.id, r.model
"""

_OF_MODEL = """
SELECT benchmark_id, campaign, pool, run,
       string_agg(DISTINCT backend || ' threads ' || threads, ', ') AS measured
FROM latency
WHERE model = :model AND precision = :precision AND median_ns IS NOT NULL
GROUP BY benchmark_id, campaign, pool, run
ORDER BY campaign, pool, run
"""

_CAMPAIGN = text("""
SELECT c.name, c.state FROM campaign c JOIN benchmark b ON b.campaign_id = c.id WHERE b.id = :id
""")

_PROGRESS = """
SELECT state, stage, backend, owner_node AS worker, failure_class, reason FROM benchmark WHERE id = :id
"""

_DEVICES = "SELECT name, state FROM device WHERE pool = :pool AND state = ANY(:states) ORDER BY name"
