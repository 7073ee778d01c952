"""Sessions of a home's embedded servers: the first user starts them, the last one stops them.

Every user holds `servers.lock` shared while it uses the servers. Starting needs that
hold and, exclusively, `servers.starting.lock`; stopping needs `servers.lock`
exclusively. So nobody stops servers that another process starts or uses, and no lock is
ever converted from exclusive to shared.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from signal import SIGTERM
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from nnlite.errors import NnliteError
from nnlite.host import processes
from nnlite.host.child_process import environment_without_settings
from nnlite.host.locks import FileLock
from nnlite.local import binaries, server_control
from nnlite.local.home import Limits, LocalError, LocalInstance, absolute_home, prepare_home
from nnlite.local.state_file import read_record, write_record

if TYPE_CHECKING:
    # The server daemon imports this module and should stay small.
    from nnlite.settings import Settings


#: Named as in 0.1, so that a daemon of that release counts.
_DAEMON_LOCK: Final = "guardian.lock"


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """URLs of Postgres and the broker; both contain passwords."""

    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)


@contextmanager
def servers(settings: "Settings") -> Iterator[Endpoints]:
    """Use the servers that the settings name, or the embedded ones, which are started if they do not run.

    The last process that leaves the context stops the embedded ones.

    Raises:
        LocalError: they cannot be started here; the message says why and what to do.
        LockTimeout: another process takes too long to start or stop them.
    """
    names = _embedded_names(settings)
    if not names:
        yield _endpoints(settings, {})
        return
    with _used(settings, names) as urls:
        yield _endpoints(settings, urls)


@contextmanager
def database(settings: "Settings") -> Iterator[str | None]:
    """Use the Postgres that the settings name, or the embedded one of an existing home; yields its URL.

    None if the home has no database: nothing is created. What does not run is started, and stopped as by
    `servers`.

    Raises:
        LocalError, LockTimeout: as `servers`.
    """
    if settings.database_url:
        yield settings.database_url
        return
    if not has_database(settings):
        yield None
        return
    with _used(settings, ["postgres"]) as urls:
        yield urls["postgres"]


@contextmanager
def _used(settings: "Settings", names: list[str]) -> Iterator[dict[str, str]]:
    """Start the servers that do not run, yield the URLs of all, and stop them unless others use them."""
    instance = local_instance(settings)
    with FileLock(instance.home / "servers.lock") as users:
        try:
            users.shared(instance.limits.start_timeout_s)
            yield _started(instance, names)
        finally:
            _leave(instance, users)


def has_database(settings: "Settings") -> bool:
    """Whether the settings name a Postgres, or the embedded one was ever started in the home.

    Raises:
        LocalError: the home is a file, or below one.
        NnliteError: it belongs to another account.
    """
    return bool(settings.database_url) or "postgres" in read_record(absolute_home(settings.home)).servers


def endpoints(settings: "Settings") -> Endpoints:
    """Return the URLs of the servers; starts nothing.

    Raises:
        NnliteError: an embedded server is needed and does not run, or the home belongs to another account.
    """
    return _endpoints(settings, {name: _running_url(settings, name) for name in _embedded_names(settings)})


def psql_command(settings: "Settings") -> tuple[list[str], dict[str, str]]:
    """Return the command that opens the database in psql, and the variables to add to its environment.

    The password is in the environment, which only this account can read, not in the arguments.

    Raises:
        NnliteError: the embedded Postgres is meant and does not run.
        LocalError: there is no psql.
    """
    url = urlsplit(settings.database_url or _running_url(settings, "postgres"))
    login = f"{url.username or ''}@" if url.username else ""
    address = url.netloc.rpartition("@")[2]
    plain = url._replace(scheme="postgresql", netloc=f"{login}{address}").geturl()
    return [str(client_programs(settings, "psql")[0]), plain], {
        "PGPASSWORD": unquote(url.password)
    } if url.password else {}


@contextmanager
def workers_lock(settings: "Settings") -> Iterator[Callable[[], bool]]:
    """Yield what tries to lock, until the end of the block: only the holder runs the home's workers.

    Raises:
        LocalError: the home cannot be created.
    """
    instance = local_instance(settings)
    with FileLock(instance.home / "workers.lock") as lock:
        yield lock.try_exclusive


def local_instance(settings: "Settings") -> LocalInstance:
    """Return the settings' home, created if it is missing, and how programs are run in it.

    Raises:
        LocalError: it cannot be created, belongs to another account, or the servers' account cannot enter it.
    """
    return prepare_home(settings.home, _limits(settings))


def _limits(settings: "Settings") -> Limits:
    return Limits(**settings.local.model_dump())


def _embedded_names(settings: "Settings") -> list[str]:
    urls = {"postgres": settings.database_url, "valkey": settings.broker_url}
    return [name for name, url in urls.items() if not url]


def _running_url(settings: "Settings", name: str) -> str:
    home = settings.home.expanduser().resolve()
    entry = read_record(home).servers.get(name)
    if entry is None or entry.process is None or not entry.process.alive:
        variable = {"postgres": "NNLITE_DATABASE_URL", "valkey": "NNLITE_BROKER_URL"}[name]
        raise NnliteError(
            f"the embedded {name} of {home} does not run; start it with `nnlite run`, or with a worker"
            f" (`nnlite worker convert`), or set {variable} to a server of your own"
        )
    kind = server_control.embedded_servers(LocalInstance(home=home, limits=_limits(settings)))[name]
    return kind.url(entry.port, entry.password)


def client_programs(settings: "Settings", name: str) -> list[Path]:
    """Return where a program of Postgres is: in the wheel, whose server it fits, then on the system.

    Raises:
        LocalError: there is none.
    """
    found = [Path(system)] if (system := shutil.which(name)) else []
    try:
        bundled = binaries.postgres_bin(LocalInstance(home=settings.home, limits=_limits(settings))) / name
        return [bundled, *found]
    except LocalError as error:
        if found:
            return found
        raise LocalError(
            f"there is no {name} here: apt-get install postgresql-client, or run the one of Postgres's own"
            " machine or container"
        ) from error


def _endpoints(settings: "Settings", urls: dict[str, str]) -> Endpoints:
    return Endpoints(
        database_url=settings.database_url or urls["postgres"],
        broker_url=settings.broker_url or urls["valkey"],
    )


def _started(instance: LocalInstance, names: list[str]) -> dict[str, str]:
    """Start the servers that do not run and return the URLs of all; call with `servers.lock` held shared."""
    kinds = server_control.embedded_servers(instance)
    with FileLock(instance.home / "servers.starting.lock") as starting:
        starting.exclusive(len(kinds) * instance.limits.start_timeout_s)
        _ensure_daemon(instance)
        urls = {}
        for name in names:
            entry = server_control.ensure(kinds[name], instance)
            urls[name] = kinds[name].url(entry.port, entry.password)
        return urls


def _ensure_daemon(instance: LocalInstance) -> None:
    """Start the server daemon if none runs, before the servers that it will stop.

    It inherits its lock, so there is never a second one.
    """
    with FileLock(instance.home / _DAEMON_LOCK) as lock:
        if not lock.try_exclusive():
            return
        arguments = [str(instance.home), json.dumps(asdict(instance.limits)), str(lock.pass_on())]
        with instance.open_log("server_daemon") as output:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "nnlite.local.server_daemon", *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", start_new_session=True,
                pass_fds=[lock.pass_on()], env=environment_without_settings(),
            )  # fmt: skip
        write_record(instance.home, replace(read_record(instance.home), daemon=processes.disown(child)))


def _leave(instance: LocalInstance, users: FileLock) -> None:
    """Stop the servers and their daemon unless others use them."""
    if not users.try_exclusive():
        return
    server_control.stop_all(instance)
    daemon = read_record(instance.home).daemon
    if daemon:
        processes.end(daemon, (SIGTERM,), instance.limits.stop_timeout_s)
