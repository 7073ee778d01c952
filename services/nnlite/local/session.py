"""Who uses a home's embedded servers, and who starts and stops them.

Every user holds `servers.lock` shared for as long as it uses the servers, so
the kernel itself knows whether there is one. Starting needs that hold and, one
at a time, `servers.starting.lock`; stopping needs `servers.lock` alone. Thus
nobody stops what somebody starts or uses, and no lock is ever converted from
exclusive to shared.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from signal import SIGTERM
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from nnlite.errors import NnliteError
from nnlite.host import processes
from nnlite.host.locks import FileLock
from nnlite.local import binaries as programs
from nnlite.local import logs
from nnlite.local import server_control as lifecycle
from nnlite.local.home import Bounds, LocalError, LocalInstance, prepare_home
from nnlite.local.state_file import read_record, write_record

if TYPE_CHECKING:
    # The guardian imports this module and should stay small.
    from nnlite.settings import Settings


class ServersNotRunning(NnliteError):
    """The embedded servers are needed, and nobody runs them."""


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where Postgres and the broker are; both URLs hold passwords."""

    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)


@contextmanager
def servers(settings: "Settings") -> Iterator[Endpoints]:
    """Use the servers that the settings name, or the embedded ones, started where nobody did.

    The last process that leaves stops the embedded ones.

    Raises:
        LocalError: they cannot be started here; the message says why and what to do.
        LockTimeout: another process is starting or stopping them for too long.
    """
    wanted = _embedded_names(settings)
    if not wanted:
        yield _endpoints(settings, {})
        return
    site = local_site(settings)
    with FileLock(site.home / "servers.lock") as users:
        try:
            users.shared(site.bounds.start_timeout_s)
            yield _endpoints(settings, _started(site, wanted))
        finally:
            _leave(site, users)


def endpoints(settings: "Settings") -> Endpoints:
    """Return where the servers are, starting nothing.

    Raises:
        ServersNotRunning: an embedded server is needed and does not run.
        RecordError: the home belongs to another account.
    """
    return _endpoints(settings, {name: _running_url(settings, name) for name in _embedded_names(settings)})


def psql_command(settings: "Settings") -> tuple[list[str], dict[str, str]]:
    """Return the command that opens the database in psql, and the environment to add for it.

    The password is in the environment, which only this account can read, not in the command.

    Raises:
        ServersNotRunning: the embedded Postgres is meant and does not run.
        LocalError: there is no psql.
    """
    url = urlsplit(settings.database_url or _running_url(settings, "postgres"))
    login = f"{url.username or ''}@" if url.username else ""
    address = url.netloc.rpartition("@")[2]
    plain = url._replace(scheme="postgresql", netloc=f"{login}{address}").geturl()
    return [str(_psql(settings)), plain], {"PGPASSWORD": unquote(url.password)} if url.password else {}


@contextmanager
def workers_lock(settings: "Settings") -> Iterator[bool]:
    """Say whether this process is the one that runs the workers of the home, while inside.

    Raises:
        LocalError: the home cannot be made.
    """
    site = local_site(settings)
    with FileLock(site.home / "workers.lock") as lock:
        yield lock.try_exclusive()


def local_site(settings: "Settings") -> LocalInstance:
    """Return the settings' home, made where it is missing, and how programs are run in it.

    Raises:
        LocalError: it cannot be made, belongs to somebody else, or the servers' account cannot enter it.
    """
    return prepare_home(settings.home, bounds(settings))


def bounds(settings: "Settings") -> Bounds:
    """Return the settings that starts and stops obey."""
    return Bounds(**settings.local.model_dump())


def _embedded_names(settings: "Settings") -> list[str]:
    given = {"postgres": settings.database_url, "valkey": settings.broker_url}
    return [name for name, url in given.items() if not url]


def _running_url(settings: "Settings", name: str) -> str:
    home = settings.home.expanduser().resolve()
    entry = read_record(home).servers.get(name)
    if entry is None or entry.process is None or not entry.process.alive:
        variable = {"postgres": "NNLITE_DATABASE_URL", "valkey": "NNLITE_BROKER_URL"}[name]
        raise ServersNotRunning(
            f"the embedded {name} of {home} does not run; start it with `nnlite run`, or with a worker"
            f" (`nnlite worker convert`), or set {variable} to a server of your own"
        )
    kind = lifecycle.embedded_servers(LocalInstance(home=home, bounds=bounds(settings)))[name]
    return kind.url(entry.port, entry.password)


def _psql(settings: "Settings") -> Path:
    """The wheel's, which fits the server; else the system's."""
    try:
        return programs.postgres_bin(LocalInstance(home=settings.home, bounds=bounds(settings))) / "psql"
    except LocalError as error:
        if system := shutil.which("psql"):
            return Path(system)
        raise LocalError(
            "there is no psql here: apt-get install postgresql-client, or run the one of Postgres's own"
            " machine or container"
        ) from error


def _endpoints(settings: "Settings", urls: dict[str, str]) -> Endpoints:
    return Endpoints(
        database_url=settings.database_url or urls["postgres"],
        broker_url=settings.broker_url or urls["valkey"],
    )


def _started(site: LocalInstance, wanted: list[str]) -> dict[str, str]:
    """Return the URLs of servers that answer; `servers.lock` is held shared."""
    kinds = lifecycle.embedded_servers(site)
    with FileLock(site.home / "servers.starting.lock") as starting:
        starting.exclusive(len(kinds) * site.bounds.start_timeout_s)
        _ensure_guardian(site)
        urls = {}
        for name in wanted:
            entry = lifecycle.ensure(kinds[name], site)
            urls[name] = kinds[name].url(entry.port, entry.password)
        return urls


def _ensure_guardian(site: LocalInstance) -> None:
    """Start the guardian where none runs, before the servers that it is to stop.

    It is handed the lock that says that it runs, so there is never a second one.
    """
    with FileLock(site.home / "guardian.lock") as guarding:
        if not guarding.try_exclusive():
            return
        arguments = [str(site.home), json.dumps(asdict(site.bounds)), str(guarding.pass_on())]
        log = site.logs / "guardian.log"
        logs.bound(log, site.bounds.log_max_bytes)
        with site.open_log("guardian") as output:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "nnlite.local.server_daemon", *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", start_new_session=True,
                pass_fds=[guarding.pass_on()], env=_guardian_environment(),
            )  # fmt: skip
        write_record(site.home, replace(read_record(site.home), guardian=processes.disown(child)))


def _guardian_environment() -> dict[str, str]:
    """Nothing of ours: its environment is readable for as long as it runs, and may hold credentials."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NNLITE_")}


def _leave(site: LocalInstance, users: FileLock) -> None:
    """Stop the servers if nobody else uses them; otherwise only let go."""
    if not users.try_exclusive():
        return
    lifecycle.stop_all(site)
    guardian = read_record(site.home).guardian
    if guardian:
        processes.end(guardian, (SIGTERM,), site.bounds.stop_timeout_s)
