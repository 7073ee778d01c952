"""Prometheus exporter of the reaper: serves the cluster's metrics over HTTP, from a thread."""

import hmac
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Metric, make_wsgi_app, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine

from nnlite.db.engine import engine_for
from nnlite.errors import NnliteError
from nnlite.queue.messages import BrokerClient
from nnlite.reaper.cluster_metrics import ClusterCollector, ReaperCollector
from nnlite.reaper.reaper import Reaper
from nnlite.settings import PREFIX, Settings
from nnlite.settings.groups import MetricsSettings
from nnlite.settings.passwords import password_in

#: A client that sends nothing for so long is disconnected, seconds.
_CLIENT_TIMEOUT_S: Final = 5.0


class DiskCollector(Collector):
    """Free space and size of the disks of some folders, which have names."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    def collect(self) -> Iterable[Metric]:
        """Return the sizes as they are now, of folders that are there."""
        free, size = self.describe()
        for name, folder in self._folders.items():
            try:
                usage = shutil.disk_usage(folder)
            except OSError:
                continue
            free.add_metric([name], usage.free)
            size.add_metric([name], usage.total)
        return [free, size]

    def describe(self) -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
        """Return the metrics without a value."""
        return (
            GaugeMetricFamily(
                "nnlite_disk_free_bytes", "Free space where the folder lies", labels=["folder"]
            ),
            GaugeMetricFamily("nnlite_disk_size_bytes", "Size of the disk of the folder", labels=["folder"]),
        )


@contextmanager
def exporting(settings: Settings, engine: Engine, broker: BrokerClient, reaper: Reaper) -> Iterator[None]:
    """Serve the metrics of the cluster, of `reaper` and of its disks while the block runs, if a port is set.

    Raises:
        NnliteError: the port cannot be bound.
    """
    if not settings.metrics.port:
        yield
        return
    timeout_s = settings.metrics.timeout_s
    # Prometheus waits less long than the reaper does.
    engine = engine_for(engine.url.render_as_string(hide_password=False), timeout_s)
    registry = CollectorRegistry()
    registry.register(ClusterCollector(engine, broker, timeout_s))
    registry.register(ReaperCollector(reaper))
    registry.register(DiskCollector(disks(settings)))
    try:
        with serving(registry, settings.metrics):
            yield
    finally:
        engine.dispose()


@contextmanager
def serving(registry: CollectorRegistry, settings: MetricsSettings) -> Iterator[None]:
    """Answer with the metrics of `registry` while the block runs.

    Raises:
        NnliteError: the address is not of this machine, its port is taken, or the token cannot be read.
    """
    app = make_wsgi_app(registry)
    if settings.token_file is not None:
        named = f"{PREFIX}METRICS__TOKEN_FILE={settings.token_file}"
        app = _with_token(app, password_in(settings.token_file, named))
    try:
        # The server answers at once: with nothing, until it has the application that asks for the token.
        server, thread = start_http_server(settings.port, settings.address, CollectorRegistry())
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (")[0].lower()
        raise NnliteError(
            f"{PREFIX}METRICS__PORT={settings.port} on {PREFIX}METRICS__ADDRESS={settings.address}: {why}; "
            "name an address of this machine and a port that is free"
        ) from error
    server.set_app(app)
    setattr(server.RequestHandlerClass, "timeout", _CLIENT_TIMEOUT_S)  # noqa: B010
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _with_token(app: Callable[..., Any], token: str) -> Callable[..., Any]:
    """Return a WSGI application that answers only requests with `Authorization: Bearer TOKEN`."""
    expected = f"Bearer {token}".encode()

    def guarded(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if hmac.compare_digest(str(environ.get("HTTP_AUTHORIZATION", "")).encode(), expected):
            answer: Iterable[bytes] = app(environ, start_response)
            return answer
        start_response("401 Unauthorized", [("WWW-Authenticate", "Bearer"), ("Content-Type", "text/plain")])
        return [b"a token is needed: NNLITE_METRICS__TOKEN_FILE of the reaper names it\n"]

    return guarded


def disks(settings: Settings) -> dict[str, Path]:
    """Return the folders whose disks must not fill up; artifacts only where they lie in a folder."""
    remote = "://" in settings.artifacts
    return {"home": settings.home} | ({} if remote else {"artifacts": Path(settings.artifacts)})
