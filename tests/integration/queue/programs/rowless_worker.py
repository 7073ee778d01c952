"""A worker whose messages have no rows: `rowless_worker.py DATABASE_URL BROKER_URL NODE QUEUE`."""

import sys

from nnlite.local import Endpoints
from nnlite.settings import Settings
from nnlite.vocabulary import WorkKind
from nnlite.worker.celery_worker import WorkerPlan, open_context, run_worker
from nnlite.worker.watchdog import WorkerLiveness

database_url, broker_url, node, queue = sys.argv[1:]
endpoints = Endpoints(database_url=database_url, broker_url=broker_url)
settings, liveness = Settings(_env_file=None), WorkerLiveness()
context = open_context(endpoints, settings, node, liveness)
plan = WorkerPlan(
    kind=WorkKind.BENCHMARK, node=node, queue=queue, pool="threads", concurrency=1, deadline_s=10,
    context=lambda: context, handler=None, device="avd:pixel4-1",
)  # fmt: skip
run_worker(plan, endpoints, settings, liveness)
