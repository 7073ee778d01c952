"""Starts, adopts and stops embedded servers.

Callers of `ensure` and `stop_all` hold the locks that exclude others (see `session`).
The state file is written before anything depends on it, so that a kill at any line
leaves a state that the next start can continue from.
"""

import errno
import secrets
import socket
import subprocess
import time
from dataclasses import replace

from nnlite.host import processes
from nnlite.local import logs
from nnlite.local.home import LocalError, LocalInstance, hint_for
from nnlite.local.postgres import Postgres
from nnlite.local.state_file import Record, ServerEntry, read_record, write_record
from nnlite.local.valkey import Valkey

EmbeddedServer = Valkey | Postgres
#: Ports are chosen here: above the well-known ones, below those that Linux gives to outgoing connections.
_PORTS = range(20_000, 32_000)
#: Attempts, each with another port, if another program takes ours between the check and the start.
_STARTS = 3
#: How long a running server may take to answer before it counts as hung, seconds.
ADOPTION_S = 10.0


def embedded_servers(instance: LocalInstance) -> dict[str, EmbeddedServer]:
    """Return every kind of server of a home by name, in the order in which they are stopped."""
    return {server.name: server for server in (Valkey(instance), Postgres(instance))}


def ensure(server: EmbeddedServer, instance: LocalInstance) -> ServerEntry:
    """Return a server that answers: the running one, or one started now.

    Raises:
        LocalError: it does not start; its log is quoted.
    """
    entry = read_record(instance.home).servers.get(server.name)
    if entry and _adopt(server, entry, instance):
        return entry
    if server.data.exists():
        _end_all_in(server, instance)
    password = entry.password if entry else secrets.token_urlsafe(24)
    try:
        server.prepare(password, is_new_password=entry is None)
        return _start(server, entry or ServerEntry(port=_new_port(), password=password), instance)
    except OSError as error:
        where = error.filename or instance.home
        raise LocalError(
            f"cannot start {server.name}: {where}: {error.strerror}{hint_for(error.strerror or '')}"
        ) from error


def _adopt(server: EmbeddedServer, entry: ServerEntry, instance: LocalInstance) -> bool:
    if entry.process is None or not entry.process.alive:
        return False
    deadline = time.monotonic() + ADOPTION_S
    while entry.process.alive and time.monotonic() < deadline:
        if server.answers(entry.port, entry.password):
            return True
        time.sleep(processes.POLL_S)
    processes.end(entry.process, server.stop_signals, instance.limits.stop_timeout_s)
    return False


def _start(server: EmbeddedServer, entry: ServerEntry, instance: LocalInstance) -> ServerEntry:
    log = instance.logs / f"{server.name}.log"
    for _ in range(_STARTS):
        if not _port_is_free(entry.port):
            entry = replace(entry, port=_new_port())
        with instance.open_log(server.name) as output:
            already_logged = output.tell()
            child = server.spawn(entry.port, entry.password, output)
        entry = replace(entry, process=processes.identify(child.pid))
        write_record(instance.home, read_record(instance.home).with_server(server.name, entry))
        if _wait_until_it_answers(server, entry, child, instance):
            processes.disown(child)
            return entry
        said = logs.tail(log, since=already_logged)
        if "Address already in use" not in said and "Address in use" not in said:
            break
    raise LocalError(f"{server.name} does not start; {log} says:\n{said or '(nothing)'}{hint_for(said)}")


def _wait_until_it_answers(
    server: EmbeddedServer, entry: ServerEntry, child: subprocess.Popen[bytes], instance: LocalInstance
) -> bool:
    timeout_s = instance.limits.start_timeout_s
    deadline = time.monotonic() + timeout_s
    while child.poll() is None:
        if server.answers(entry.port, entry.password):
            return True
        if time.monotonic() > deadline:
            child.kill()
            child.wait(instance.limits.stop_timeout_s)
            raise LocalError(
                f"{server.name} did not answer on port {entry.port} for {timeout_s:.0f} s;"
                " give it longer: NNLITE_LOCAL__START_TIMEOUT_S"
                f"\n{logs.tail(instance.logs / f'{server.name}.log')}"
            )
        time.sleep(processes.POLL_S)
    return False


def stop_all(instance: LocalInstance) -> None:
    """Stop every server that runs, first Valkey, then Postgres; ports and passwords stay.

    Raises:
        TimeoutError: one outlived SIGKILL.
    """
    record = read_record(instance.home)
    for name, server in embedded_servers(instance).items():
        entry = record.servers.get(name)
        if entry is None or entry.process is None:
            continue
        processes.end(entry.process, server.stop_signals, instance.limits.stop_timeout_s)
        # Backends of a killed Postgres, most of which end by themselves.
        _end_all_in(server, instance)
        record = record.with_server(name, replace(entry, process=None))
        write_record(instance.home, record)


def _end_all_in(server: EmbeddedServer, instance: LocalInstance) -> None:
    """End the processes of a server's program that work in its data folder."""
    found = processes.running_in(server.data, server.executable)
    processes.end_all(found, instance.limits.stop_timeout_s)


def crashed(record: Record) -> list[str]:
    """Return the names of servers that should run and do not."""
    return [
        name
        for name, entry in record.servers.items()
        if entry.process is not None and not entry.process.alive
    ]


def _port_is_free(port: int) -> bool:
    with socket.socket() as candidate:
        # As the servers do: connections of an earlier run in TIME_WAIT do not count.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def _new_port() -> int:
    for _ in range(100):
        port = secrets.choice(_PORTS)
        if _port_is_free(port):
            return port
    raise LocalError(f"no free port between {_PORTS.start} and {_PORTS.stop} on 127.0.0.1")
