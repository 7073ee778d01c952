"""Workers of this release whose results are at hand, one queue after the other, each until it has no work.

Run as `python -m integration.release.worker DATABASE_URL BROKER_URL QUEUE...`. Each queue must have work; the
process ends at once, with an error, when a result cannot be made.
"""

import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Engine, text

from integration.canned import CONTEXT, artifact_row, measurement, written
from nnlite.db.engine import engine_for
from nnlite.local import Endpoints
from nnlite.queue.app import CONVERT_QUEUE
from nnlite.queue.leases import Claim
from nnlite.results.devices import record_ready
from nnlite.results.recording import ConvertedModel, record_conversion
from nnlite.settings import Settings
from nnlite.vocabulary import Precision, WorkKind
from nnlite.worker.attempt import Handler, Result
from nnlite.worker.celery_worker import WorkerPlan, per_process_context, run_worker, stop_consuming
from nnlite.worker.watchdog import WorkerLiveness


def main(database_url: str, broker_url: str, *queues: str) -> int:
    engine = engine_for(database_url)
    record_ready(engine, CONTEXT, "benchmark@new")
    endpoints = Endpoints(database_url=database_url, broker_url=broker_url)
    settings = Settings(home=Path("unused"), _env_file=None)
    liveness = WorkerLiveness()
    plan = WorkerPlan(
        kind=WorkKind.BENCHMARK, node="benchmark@new", queue="", pool="threads", concurrency=1, deadline_s=60,
        context=per_process_context(endpoints, settings, "benchmark@new", liveness), handler=or_exit(measure),
    )  # fmt: skip
    codes = []
    for queue in queues:
        here = replace(plan, queue=queue, after=lambda row, queue=queue: stop_without_work(engine, queue))
        if queue == CONVERT_QUEUE:
            here = replace(here, kind=WorkKind.CONVERSION, node="convert@new", handler=or_exit(convert))
        codes.append(run_worker(here, endpoints, settings, liveness))
    return max(codes)


def or_exit(handler: Handler) -> Handler:
    """End the process where `handler` raises: its row would stay running."""

    def run(claim: Claim) -> Result:
        try:
            return handler(claim)
        except Exception:  # noqa: BLE001  (whatever it is, the test must see it)
            traceback.print_exc()
            os._exit(1)

    return run


def convert(claim: Claim) -> Result:
    """Make an artifact in every precision that is wanted, out of nothing."""
    model = ConvertedModel(
        name=claim.payload["model"],
        priority=claim.payload["priority"],
        pools=claim.payload["pools"],
        cached=False,
    )
    artifacts = [
        artifact_row(
            claim.payload["identity"],
            precision=precision,
            cache_key=f"{claim.payload['identity']} {precision}",
        )
        for precision in claim.payload["precisions"]
    ]
    return Result(write=lambda connection: record_conversion(connection, claim, model, artifacts))


def measure(claim: Claim) -> Result:
    """Measure a millisecond."""
    report = measurement(precision=Precision(claim.payload["artifact"]["precision"]))
    return Result(write=lambda connection: written(connection, claim, report))


def stop_without_work(engine: Engine, queue: str) -> None:
    """Let the worker end when nothing is left to do in `queue`."""
    with engine.connect() as connection:
        if not connection.scalar(text(_LEFT), {"queue": queue, "convert": CONVERT_QUEUE}):
            stop_consuming()


_LEFT = """
SELECT count(*) FROM (
    SELECT :convert AS queue, campaign_id, state FROM conversion
    UNION ALL
    SELECT 'benchmark.' || pool, campaign_id, state FROM benchmark
) w
JOIN campaign c ON c.id = w.campaign_id
WHERE w.queue = :queue AND c.state = 'active' AND w.state IN ('queued', 'running')
"""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
