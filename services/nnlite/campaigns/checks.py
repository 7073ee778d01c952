"""Checks of a request that need no server: they are made before anything is started or stored."""

from collections.abc import Sequence

from nnlite.artifacts.store import open_store
from nnlite.backends import BACKENDS, format_of
from nnlite.campaigns.calibration_fit import check_fit
from nnlite.campaigns.request import Request, RequestConflict, RequestError, check_name
from nnlite.catalog.model import CatalogModel
from nnlite.queue.app import PRIORITIES
from nnlite.results.reading import Database, rows_of, unknown
from nnlite.settings import Settings
from nnlite.vocabulary import (
    HOST_POOL,
    ArtifactFormat,
    Backend,
    DeviceKind,
    EvaluateOn,
    ModelFormat,
    Precision,
)


def check_request(
    request: Request,
    models: Sequence[CatalogModel],
    *,
    name: str | None,
    priority: int,
    settings: Settings,
    growing: bool = False,
) -> str:
    """Return the name that the campaign gets, if its request can be submitted.

    Args:
        name: of the campaign; None: one that is derived from the request.
        growing: the campaign may start without models.

    Raises:
        RequestError: the name or the priority is none, no model matches, no device has a backend, or none
            executes what is asked for.
        SamplesError: the calibration data fits no model.
        StoreError: it cannot be read.
    """
    name = check_name(request.default_name() if name is None else name)
    if priority not in PRIORITIES:
        raise RequestError(f"priority {priority} is not within 0-9; larger is sooner, the default is 5")
    check_backends(request)
    check_formats(request, models)
    if not models and not growing:
        raise RequestConflict(
            "no model matches the request; `nnlite models` lists all, and why some are skipped"
        )
    if request.calibration is not None:
        check_fit(request.calibration, models, open_store(settings))
    return name


def check_backends(request: Request) -> None:
    """Check that a machine has the backends, where nothing but machines measures.

    Raises:
        RequestError: none has one of them.
    """
    known = BACKENDS[DeviceKind.HOST]
    absent = [each for each in request.backends if each not in known]
    if absent and set(request.pools) == {HOST_POOL}:
        raise RequestError(
            f"--backend {','.join(absent)}: no machine has it, and pool {HOST_POOL} is that of machines; "
            f"choose of {', '.join(each for each in Backend if each in known)}, or name a pool of phones or "
            "emulators: --pool NAME"
        )


def check_formats(request: Request, models: Sequence[CatalogModel]) -> None:
    """Check that a backend executes `.tflite` files, where the request asks for what only they have.

    Raises:
        RequestError: none does.
    """
    if executes_tflite(request):
        return
    others = ",".join(each for each in request.precisions if each is not Precision.FP32)
    ready = [model.name for model in models if model.model_format is ModelFormat.PREBUILT]
    asked = [f"--precision {others}"] if others else []
    asked += ["--evaluate-on device"] if request.evaluate_on is EvaluateOn.DEVICE else []
    asked += [f"the ready file {ready[0]}"] if ready else []
    if asked:
        raise RequestError(
            f"--backend {','.join(request.backends)} executes no .tflite files, needed for "
            f"{' and '.join(asked)}; add --backend {Backend.CPU}"
        )


def executes_tflite(request: Request) -> bool:
    """Return whether any backend of a request executes `.tflite` files, such as ready ones."""
    return ArtifactFormat.TFLITE in map(format_of, request.backends)


def absent_backends(database: Database, request: Request) -> list[str]:
    """Return sentences about backends that no known device of a pool has; others may join the pool."""
    found = []
    for pool in request.pools:
        kinds = [DeviceKind(row["kind"]) for row in rows_of(database, _KINDS, {"pool": pool})]
        kinds = [DeviceKind.HOST] if pool == HOST_POOL else kinds
        absent = [each for each in request.backends if not any(each in BACKENDS[kind] for kind in kinds)]
        if kinds and absent:
            unless = "" if pool == HOST_POOL else ", unless another device joins it"
            what = f"pool {pool} has no device for --backend {','.join(absent)}"
            found.append(f"{what}: results there will be invalid{unless}")
    return found


def absent_pools(database: Database, request: Request) -> list[str]:
    """Return sentences about pools in which no device was ever seen; one may join them."""
    known = [row["pool"] for row in rows_of(database, _POOLS, {})]
    absent = [unknown("pool", pool, known) for pool in request.pools if pool not in {*known, HOST_POOL}]
    return [
        f"{each if each.endswith('?') else f'{each}.'} Until a device joins it, nothing is measured there"
        for each in absent
    ]


_POOLS = "SELECT DISTINCT pool FROM device ORDER BY pool"
_KINDS = "SELECT DISTINCT kind FROM device WHERE pool = :pool ORDER BY kind"
