"""The reference page of the reaper's metrics, from the collectors that serve them."""

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

from docs_site.markdown import code, table
from nnlite.reaper.cluster_metrics import ClusterCollector, ReaperCollector
from nnlite.reaper.exporter import DiskCollector

_INTRODUCTION = """# Metrics

Generated from what `nnlite reaper` serves for Prometheus. [Monitoring](../operate/lab/monitoring.md) says
how to start it, what to ask and what to do about an alert. Histograms have `_bucket`, `_sum` and `_count`.
"""


def metrics_page() -> str:
    """Return the page: every metric with type, labels and meaning."""
    unused = cast("Any", None)
    reaper = cast("Any", SimpleNamespace(active=False, resent=Counter()))
    families = [
        *ClusterCollector(unused, unused, 1).describe(),
        *ReaperCollector(reaper).collect(),
        *DiskCollector({}).describe(),
    ]
    rows = [
        (
            code(family.name + ("_total" if family.type == "counter" else "")),
            family.type,
            ", ".join(map(code, cast("Any", family)._labelnames)),
            family.documentation,
        )
        for family in families
    ]
    return "\n".join([_INTRODUCTION, table(("metric", "type", "labels", "meaning"), sorted(rows))])
