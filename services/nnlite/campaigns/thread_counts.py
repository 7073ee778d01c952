"""Checks a request's numbers of threads against the known devices, and the time that its benchmarks take."""

from collections import Counter
from contextlib import suppress

from pydantic import ValidationError
from sqlalchemy import Connection, text

from nnlite.backends import CPU_BACKENDS, format_of
from nnlite.campaigns.request import Request, RequestError
from nnlite.settings import Settings
from nnlite.vocabulary import EvaluateOn, WorkKind


def check_threads(connection: Connection, request: Request, settings: Settings) -> None:
    """Check that the known devices of each pool have the cores, and that the time suffices.

    Raises:
        RequestError: no device that is there can measure the largest number, or measuring an artifact, with
            all numbers, passes and samples, may take longer than Redis waits.
    """
    if request.threads or request.passes or request.evaluate_on is EvaluateOn.DEVICE:
        _check_time(request, settings)
    if not request.threads:
        return
    from nnlite.reports.schema import DeviceContext  # takes longer to import than to submit

    most: dict[str, tuple[int, str]] = {}
    for row in connection.execute(_DEVICES, {"pools": list(request.pools)}):
        with suppress(ValidationError):  # as another release writes it: unknown
            cores = DeviceContext.model_validate_json(row.context).usable_cores
            most[row.pool] = max((cores, row.name), most.get(row.pool, (0, "")))
    for pool, (cores, device) in most.items():
        check_cores(request, cores, f"{device} of pool {pool}")


def check_cores(request: Request, cores: int, device: str) -> None:
    """Check that `cores` are enough for every number of threads of the request.

    Raises:
        RequestError: they are not; measured anyway, threads would wait for one another.
    """
    if request.threads and request.threads[-1] > cores:
        raise RequestError(
            f"--threads {request.threads[-1]} needs as many cores, {device} measures on {cores}; "
            f"name at most {cores} threads"
        )


def _check_time(request: Request, settings: Settings) -> None:
    """Check that Redis waits longer than the deadline that `statements.claim_row` sets."""
    further_s = settings.further_deadline_s(WorkKind.BENCHMARK)
    formats = Counter(format_of(backend) for backend in CPU_BACKENDS & set(request.backends))
    further = max(len(request.threads) - 1, 0) * max(formats.values(), default=0)
    longest_s = settings.benchmark_deadline_s + further * further_s
    for seconds in request.passes.values():
        longest_s += (len(request.backends) + further) * (further_s + seconds)
    on_device = request.evaluate_on is EvaluateOn.DEVICE
    longest_s += on_device * len(request.backends) * further_s
    if longest_s >= settings.queue.visibility_timeout_s:
        asked = [f"--threads with {len(request.threads)} numbers"] if request.threads else []
        asked += [f"--{stage} {seconds}" for stage, seconds in request.passes.items()]
        asked += ["--evaluate-on device"] * on_device
        raise RequestError(
            f"{' and '.join(asked)} may measure an artifact for {longest_s:.0f} s, "
            "after which Redis would deliver it again; ask for less, or raise "
            f"NNLITE_QUEUE__VISIBILITY_TIMEOUT_S={settings.queue.visibility_timeout_s} everywhere"
        )


# A device that is stopped or starting may get other cores (NNLITE_MEASUREMENT__CORES).
_DEVICES = text("""
SELECT name, pool, context::text AS context FROM device
WHERE pool = ANY(:pools) AND context IS NOT NULL AND state NOT IN ('starting', 'stopped')
""")
