"""Calibration data of a request: which samples, and the user's own put into the artifact store."""

import tempfile
from dataclasses import replace
from pathlib import Path

from nnlite.artifacts.calibration import Calibration, named, pack
from nnlite.artifacts.store import open_store, path_in_store
from nnlite.campaigns.request import RequestError
from nnlite.settings import Settings
from nnlite.vocabulary import Precision


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
    with tempfile.TemporaryDirectory(prefix="nnlite-calibration-") as folder:
        packed = Path(folder, "samples.zip")
        pack(wanted, source, packed)
        path = open_store(settings).put(packed, ".zip") if store else path_in_store(packed, ".zip")
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
    return named(name, samples=settings.calibration_samples, seed=settings.calibration_seed)
