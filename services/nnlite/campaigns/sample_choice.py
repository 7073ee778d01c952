"""Samples of a request for calibration and evaluation: the user's own are chosen and put into the store."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from nnlite.artifacts import calibration, evaluation
from nnlite.artifacts.calibration import Calibration
from nnlite.artifacts.evaluation import EvaluationData
from nnlite.artifacts.store import open_store, path_in_store
from nnlite.campaigns.request import RequestError
from nnlite.catalog.lemur.source import LemurSource
from nnlite.settings import Settings
from nnlite.vocabulary import Precision

T = TypeVar("T")


def chosen_calibration(
    name: str | None, precisions: tuple[Precision, ...], settings: Settings, *, store: bool = True
) -> Calibration | None:
    """Return the calibration of `precisions`; samples of the user's data are chosen and put into the store.

    Args:
        store: put them there; False: return what would be the calibration.

    Raises:
        RequestError, SamplesError: as `named_calibration`.
        StoreError: the store cannot take it.
    """
    wanted, source = named_calibration(name, precisions, settings)
    if wanted is None or source is None:
        return wanted
    path, _ = _packed(lambda file: calibration.pack(wanted, source, file), settings, store=store)
    return replace(wanted, path=path)


def named_calibration(
    name: str | None, precisions: tuple[Precision, ...], settings: Settings
) -> tuple[Calibration | None, Path | None]:
    """Return the calibration of `precisions`, None for fp32 alone, and the user's folder or file for it.

    Args:
        name: from the command line; None: from the settings.

    Raises:
        RequestError: calibration is named, but no precision needs it.
        SamplesError: it cannot be used.
    """
    if set(precisions) == {Precision.FP32}:
        if name is not None:
            raise RequestError("--calibration is for other precisions than fp32; add --precision int8")
        return None, None
    name = name or (str(settings.calibration_dir) if settings.calibration_dir else None)
    return calibration.named(name, samples=settings.calibration_samples, seed=settings.calibration_seed)


def chosen_evaluation(
    path: Path | None, source: str, trained: Path | None, settings: Settings, *, store: bool = True
) -> EvaluationData | None:
    """Return the labelled samples at `path`, chosen and put into the store; None: there are none.

    Args:
        trained: weights or ready files of LEMUR's models; None: weights are drawn.
        store: put them there; False: return what would be evaluated.

    Raises:
        RequestError: the models' weights are drawn.
        SamplesError: the path has no labelled samples.
        StoreError: the store cannot take them.
    """
    if path is None:
        return None
    if source == LemurSource.name and trained is None:
        raise RequestError(
            "--evaluate measures trained models, and LEMUR's have weights that are drawn; add --weights DIR "
            "or --prebuilt DIR"
        )
    labelled, seed = path.expanduser(), settings.evaluation_seed
    most = settings.evaluation_samples
    in_store, samples = _packed(
        lambda file: evaluation.pack(labelled, file, samples=most, seed=seed), settings, store=store
    )
    return EvaluationData(
        samples=samples,
        kind=evaluation.kind_of(labelled),
        seed=seed,
        name=labelled.resolve().name,
        path=in_store,
    )


def _packed(pack: Callable[[Path], T], settings: Settings, *, store: bool) -> tuple[str, T]:
    """Return the path in the store of the file that `pack` writes, put there if `store`, and its result."""
    with tempfile.TemporaryDirectory(prefix="nnlite-samples-") as folder:
        file = Path(folder, "samples.zip")
        result = pack(file)
        return open_store(settings).put(file, ".zip") if store else path_in_store(file, ".zip"), result
