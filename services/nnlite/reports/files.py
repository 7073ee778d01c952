"""Stores the enriched report of each benchmark as a file in the artifact store."""

import uuid

from nnlite.artifacts.store import ArtifactStore
from nnlite.reports.schema import BenchmarkReport


def store_report(
    store: ArtifactStore, report: BenchmarkReport, *, campaign: str, benchmark_id: uuid.UUID
) -> str:
    """Store the whole report, samples included, and return its path in the store.

    Call it before the rows are written: a report without rows is replaced by the next attempt's, rows
    without a report would stay so.

    Raises:
        StoreError: the store cannot be used now; try again later.
    """
    name = f"{report.model_name}-{report.precision}-{report.device.pool}"
    content = report.model_dump_json(indent=1).encode()
    return store.put_report(content, campaign=campaign, name=name, benchmark_id=benchmark_id)
