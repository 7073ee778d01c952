"""Implements `--follow`: submits a source's models to one campaign as they are completed."""

import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import NoReturn

import psycopg2
from sqlalchemy.exc import DBAPIError

from nnlite.artifacts.store import StoreError
from nnlite.campaigns.checks import executes_tflite
from nnlite.campaigns.growing import GrowingCampaign
from nnlite.campaigns.request import Request, RequestError
from nnlite.catalog.model import CatalogError, CatalogModel, FollowableSource
from nnlite.cli.actions.session import Session
from nnlite.cli.parsing import selection
from nnlite.cli.presenting.output import count, err
from nnlite.settings import Settings
from nnlite.vocabulary import ModelFormat


def source_of(request: Request, settings: Settings) -> FollowableSource:
    """Return the source of a request that is to be followed.

    Raises:
        RequestError: the source cannot be followed, or the request chooses models that must be there.
        CatalogError: there is no such source, or it cannot be read.
    """
    source = selection.open_source(request, settings)
    if not isinstance(source, FollowableSource):
        raise RequestError(f"source {source.name} does not grow while it is read; leave --follow out")
    if request.models or request.limit is not None:
        raise RequestError("--follow takes whatever comes; choose with --match, not with names or --limit")
    return source


def follow(
    cluster: Session,
    request: Request,
    name: str | None,
    priority: int,
    wait: Callable[[float], None] = time.sleep,
) -> NoReturn:
    """Submit the models of the request's source, and new ones as they appear, until interrupted.

    What was submitted before, by an earlier run of the same command too, stays as it is.

    Args:
        wait: called between two looks with the seconds to wait.

    Raises:
        RequestError: as `source_of`, or the campaign takes no more models.
    """
    source = source_of(request, cluster.settings)
    campaign = GrowingCampaign.open(
        cluster.engine,
        cluster.broker,
        request,
        source=source,
        settings=cluster.settings,
        name=name,
        priority=priority,
    )
    err.print(f"following into campaign {campaign.name}; Ctrl-C stops", highlight=False)
    offered: set[tuple[str, str]] = set()
    shown = ""
    while True:
        grown, waiting = source.grown()
        models, unmeasured = _chosen(grown, request)
        new = [model for model in models if _key(model) not in offered]
        try:
            added = campaign.add(new)
        except (DBAPIError, psycopg2.OperationalError, psycopg2.InterfaceError):
            message = "Postgres is away; waiting for it"
        except (StoreError, CatalogError) as error:
            message = f"{error}; trying again"
        else:
            offered.update(map(_key, new))
            message = _summary(added, len(offered), waiting)
            if unmeasured:
                files, backends = count(unmeasured, "ready .tflite file"), ",".join(request.backends)
                message += f"; {files} left out, which --backend {backends} does not execute"
        if message != shown:
            err.print(message, highlight=False)
            shown = message
        wait(cluster.settings.catalog.follow_poll_s)


def _key(model: CatalogModel) -> tuple[str, str]:
    return model.name, model.identity


def _chosen(models: Sequence[CatalogModel], request: Request) -> tuple[list[CatalogModel], int]:
    """Return the models that a request takes, and how many ready files none of its backends executes."""
    matching = [each for each in models if request.match is None or fnmatchcase(each.name, request.match)]
    if executes_tflite(request):
        return matching, 0
    taken = [each for each in matching if each.model_format is not ModelFormat.PREBUILT]
    return taken, len(matching) - len(taken)


def _summary(added: list[CatalogModel], offered: int, waiting: int) -> str:
    parts = []
    if added:
        skipped = sum(model.skipped is not None for model in added)
        parts.append(f"{len(added)} submitted" + (f", {skipped} of them skipped" if skipped else ""))
    parts.append(f"{count(offered, 'model')} so far")
    if waiting:
        parts.append(f"{waiting} being written")
    return "; ".join(parts)
