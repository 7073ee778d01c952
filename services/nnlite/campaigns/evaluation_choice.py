"""Labelled samples of a request, chosen and put into the artifact store."""

import tempfile
from pathlib import Path

from nnlite.artifacts.evaluation import EvaluationData, kind_of, pack
from nnlite.artifacts.store import open_store, path_in_store
from nnlite.campaigns.request import RequestError
from nnlite.catalog.lemur.source import LemurSource
from nnlite.settings import Settings


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
    path, seed = path.expanduser(), settings.evaluation_seed
    with tempfile.TemporaryDirectory(prefix="nnlite-evaluation-") as folder:
        packed = Path(folder, "samples.zip")
        return EvaluationData(
            samples=pack(path, packed, samples=settings.evaluation_samples, seed=seed),
            kind=kind_of(path),
            seed=seed,
            name=path.resolve().name,
            path=open_store(settings).put(packed, ".zip") if store else path_in_store(packed, ".zip"),
        )
