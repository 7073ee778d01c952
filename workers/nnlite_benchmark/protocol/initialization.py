"""Initialization with a cache, cold and warm: two processes; the second finds what the first wrote."""

from collections.abc import Callable
from dataclasses import replace

from nnlite.reports.schema import Initialization, RunReport
from nnlite_benchmark.device import DeviceFailure
from nnlite_benchmark.protocol.analysis.measurement import Run


def with_initialization(run: Run, cache: str, initialize: Callable[[], RunReport]) -> Run:
    """Return `run` with the duration of initialization without and with a cache.

    What fails here is no failure of the run: the artifact was measured, and the canary that follows says
    whether the device is well.

    Args:
        run: of the artifact.
        cache: what is cached, for the report.
        initialize: initializes the artifact in a new process; the first call finds no cache, the second that
            of the first.
    """
    initialization = Initialization(cache=cache)
    try:
        for field in ("init_cold_ns", "init_warm_ns"):
            report = initialize()
            if report.error is not None:
                initialization = initialization.model_copy(update={"init_error": report.error})
                break
            initialization = initialization.model_copy(update={field: report.init_ns})
    except DeviceFailure as failure:
        initialization = initialization.model_copy(update={"init_error": failure.reason})
    report = run.report.model_copy(update={"initialization": initialization})
    return replace(run, report=report)
