"""Reads LEMUR's statistics: names of their folders, trials of one file, transforms of mobile results."""

import logging
from collections.abc import Iterator

import orjson

from nnlite.catalog.lemur.configuration import Trial
from nnlite.catalog.lemur.datasets import DATASETS

logger = logging.getLogger(__name__)


def split_name(folder: str) -> tuple[str, str, str, str]:
    """Return task, dataset, metric and model of a folder of statistics; empty where there are fewer."""
    task, _, rest = folder.partition("_")
    # The name of a dataset may have the character that separates the parts.
    dataset = next((name for name in DATASETS if "_" in name and rest.startswith(f"{name}_")), None)
    dataset = dataset or rest.partition("_")[0]
    metric, _, model = rest[len(dataset) + 1 :].partition("_")
    return task, dataset, metric, model


def is_statistics(folder: str) -> bool:
    """Return whether the name of a folder is `<task>_<dataset>_<metric>_<model>`."""
    return folder.count("_") >= 3


def transforms_of(content: bytes | None, where: str) -> dict[str, str]:
    """Return the transform of each model from `{"<model>": {"transform": "<name>", ...}}`."""
    try:
        entries = orjson.loads(content) if content else {}
        named = {name: entry.get("transform") for name, entry in entries.items()}
    except (orjson.JSONDecodeError, AttributeError) as error:
        logger.warning("%s does not name transforms (%s: %s); ignored", where, type(error).__name__, error)
        return {}
    return {name: transform for name, transform in named.items() if isinstance(transform, str)}


def trials_of(folder: str, content: bytes, where: str) -> Iterator[Trial]:
    """Yield the trials in a file of `folder`; a broken file is logged under `where` and gives none."""
    task, dataset, metric, name = split_name(folder)
    try:
        for values in orjson.loads(content):
            if not (isinstance(values["transform"], str) and isinstance(values["uid"], str)):
                raise TypeError("transform and uid are names")
            yield Trial(
                name=name,
                task=task,
                dataset=dataset,
                metric=metric,
                transform=values["transform"],
                uid=values["uid"],
                batch=int(values["batch"]),
                duration_ns=float(values["duration"]),
                accuracy=values.get("accuracy"),
                values=values,
            )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        # One broken file of twenty thousand costs its model a few trials, not the user the listing.
        logger.warning("%s is not a list of trials (%s: %s); ignored", where, type(error).__name__, error)
