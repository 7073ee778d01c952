"""From a command line to a request and the models that it means."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from nnlite.artifacts.calibration import Calibration, named, pack
from nnlite.artifacts.store import open_store
from nnlite.campaigns.request import Request, RequestError
from nnlite.catalog.files.source import is_module
from nnlite.catalog.lemur.configuration import BEST
from nnlite.catalog.model import CatalogModel, ModelSource
from nnlite.catalog.selection import select
from nnlite.catalog.sources import load_source
from nnlite.settings import Settings
from nnlite.vocabulary import Backend, Precision

W = TypeVar("W", Backend, Precision)


@dataclass(frozen=True, kw_only=True)
class Selected:
    """A request with its models."""

    request: Request
    models: list[CatalogModel]
    source: ModelSource


def resolve(request: Request, settings: Settings) -> Selected:
    """Look the request's models up in its source.

    Raises:
        CatalogError: the source cannot be read, or a name is unknown.
    """
    source = open_source(request, settings)
    models = select(
        source.models(), names=request.models, match=request.match, limit=request.limit, seed=request.seed
    )
    return Selected(request=request, models=models, source=source)


def open_source(request: Request, settings: Settings) -> ModelSource:
    """Make the source that the request names, with what it asks of it.

    Raises:
        CatalogError: there is no such source, or it does not know what is asked of it.
    """
    return load_source(
        request.source,
        settings,
        transform=request.transform,
        dataset=request.dataset,
        path=tuple(map(Path, request.path)) or None,
        input=request.inputs or None,
        layout=request.layout,
        configs=None if request.configs == BEST else request.configs,
    )


def absolute(paths: Sequence[Path] | None) -> tuple[str, ...]:
    """Return paths as a request keeps them: it means the same files wherever it is repeated."""
    return tuple(str(path if is_module(path) else path.expanduser().absolute()) for path in paths or ())


def backends(values: list[str]) -> tuple[Backend, ...]:
    """Return the backends that `values` name, each one or several with commas."""
    return tuple(dict.fromkeys(_word(Backend, "backend", value) for value in _split(values)))


def precisions(values: list[str]) -> tuple[Precision, ...]:
    """Return the precisions that `values` name, each one or several with commas."""
    return tuple(dict.fromkeys(_word(Precision, "precision", value) for value in _split(values)))


def calibration(
    name: str | None, precisions: tuple[Precision, ...], settings: Settings
) -> Calibration | None:
    """Return what `precisions` are calibrated on; the user's data are chosen from and put into the store.

    Args:
        name: as the user says it; None: as the settings say.

    Raises:
        RequestError: it is named and nothing needs it.
        CalibrationError: it cannot be used.
        StoreError: the store cannot take it.
    """
    if set(precisions) == {Precision.FP32}:
        if name is not None:
            raise RequestError("--calibration is for other precisions than fp32; add --precision int8")
        return None
    name = name or (str(settings.calibration_dir) if settings.calibration_dir else None)
    wanted, source = named(name, samples=settings.calibration_samples, seed=settings.calibration_seed)
    if source is None:
        return wanted
    with tempfile.TemporaryDirectory(prefix="nnlite-calibration-") as folder:
        packed = Path(folder, "samples.zip")
        pack(wanted, source, packed)
        return replace(wanted, path=open_store(settings).put(packed, ".zip"))


def _split(values: list[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _word(words: type[W], what: str, value: str) -> W:
    try:
        return words(value)
    except ValueError as error:
        raise RequestError(f"{what} {value!r} is none of {', '.join(words)}") from error
