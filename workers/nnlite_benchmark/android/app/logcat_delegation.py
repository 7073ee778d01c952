"""Delegated node counts from logcat, to verify the app's own count."""

from nnlite.reports.schema import Delegation
from nnlite.vocabulary import Backend
from nnlite_benchmark.protocol.delegation_log import XNNPACK, logged, over_subgraphs


def logged_delegation(text: str, backend: Backend) -> Delegation | None:
    """Return a backend's delegation over all subgraphs, each of which has a line; None: no such line."""
    fields = over_subgraphs([line for line in logged(text) if _is_of(backend, line["delegate"])])
    return None if fields is None else Delegation(**fields)


def _is_of(backend: Backend, delegate: str) -> bool:
    """Return whether a delegate is the backend's: other runtimes name those of gpu and npu otherwise."""
    return (delegate == XNNPACK) == (backend is Backend.CPU)


def agreed_delegation(reported: Delegation | None, logged: Delegation | None) -> Delegation | None:
    """Return the smaller of the app's count and the count of its log.

    None if both are missing: then the run counts as not delegated, and no latency is published.
    """
    if reported is None or logged is None:
        return reported or logged
    return logged if logged.delegated_nodes < reported.delegated_nodes else reported
