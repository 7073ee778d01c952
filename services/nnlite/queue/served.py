"""Which queues living workers consume: Redis lists its clients, and workers name their connections.

In Redis's own protocol, because redis-py takes longer to import than `nnlite status` takes in all.
"""

import socket
from typing import BinaryIO, Final
from urllib.parse import unquote, urlsplit

from nnlite.errors import Unavailable
from nnlite.queue.app import queues_of_client, tls_of

#: Celery's workers send an event every two seconds: a client of which nothing was heard for so many belongs
#: to a machine that went away without a word.
_SILENT_S: Final = 60


class BrokerUnreachableError(Unavailable):
    """Redis does not answer; rows are safe in Postgres, and the reaper sends their messages later."""


def served_queues(broker_url: str, timeout_s: float) -> frozenset[str]:
    """Return the queues that living workers consume.

    Args:
        broker_url: of Redis.
        timeout_s: longest wait for a connection and for a reply.

    Raises:
        BrokerUnreachableError: Redis does not answer.
    """
    parts = urlsplit(broker_url)
    login = [unquote(each) for each in (parts.username, parts.password) if each]
    try:
        with _connect(broker_url, timeout_s) as connection, connection.makefile("rb") as replies:
            if login:
                connection.sendall(_command("AUTH", *login))
                _reply(replies)
            connection.sendall(_command("CLIENT", "LIST"))
            clients = _reply(replies).decode()
    except (OSError, ValueError) as error:
        raise BrokerUnreachableError(f"Redis cannot be reached: {error}") from error
    return _served(clients, parts.path.strip("/") or "0")


def _served(clients: str, database: str) -> frozenset[str]:
    found: set[str] = set()
    for line in clients.splitlines():
        client = dict(word.split("=", 1) for word in line.split(" ") if "=" in word)
        if client["db"] == database and int(client["idle"]) < _SILENT_S:
            found.update(queues_of_client(client["name"]))
    return frozenset(found)


def _connect(broker_url: str, timeout_s: float) -> socket.socket:
    parts = urlsplit(broker_url)
    host = parts.hostname or "127.0.0.1"
    connection = socket.create_connection((host, parts.port or 6379), timeout_s)
    tls = tls_of(broker_url)
    if not tls:
        return connection
    import ssl

    context = ssl.create_default_context(cafile=tls.get("ssl_ca_certs"), capath=tls.get("ssl_ca_path"))
    if tls["ssl_cert_reqs"] == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if "ssl_certfile" in tls:
        context.load_cert_chain(tls["ssl_certfile"], tls.get("ssl_keyfile"))
    return context.wrap_socket(connection, server_hostname=host)


def _command(*words: str) -> bytes:
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


def _reply(replies: BinaryIO) -> bytes:
    """Return one line, or one text of a stated length.

    Raises:
        ValueError: it is an error, or the connection was closed.
    """
    line = replies.readline().strip()
    if line.startswith(b"$"):
        return replies.read(int(line[1:]) + 2)[:-2]
    if line.startswith(b"+"):
        return line[1:]
    raise ValueError(line[1:].decode(errors="replace") or "it closed the connection")
