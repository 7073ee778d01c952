"""Which queues are served: Redis's list of clients is read, over TLS too, and only by who may."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nnlite.queue.app import client_name, create_app, queues_of_client
from nnlite.queue.served import BrokerUnreachableError, served_queues
from nnlite.settings import Settings

CHECKOUT = Path(__file__).parents[3]
POOL = "benchmark.Büro, 2=%"
CLIENTS = f"""\
id=1 addr=10.0.0.2:1 name={client_name(["convert"])} idle=0 db=0 cmd=brpop user=default
id=2 addr=10.0.0.2:2 name={client_name([POOL])} idle=3 db=0 cmd=brpop user=default
id=3 addr=10.0.0.2:3 name={client_name(["benchmark.of-another-lab"])} idle=0 db=1 cmd=brpop user=default
id=4 addr=10.0.0.2:4 name={client_name(["benchmark.switched-off"])} idle=61 db=0 cmd=brpop user=default
id=5 addr=10.0.0.2:5 name=grafana idle=0 db=0 cmd=get user=default
id=6 addr=10.0.0.2:6 name= idle=0 db=0 cmd=client user=default
"""
#: What a client of ours sends, and what Redis answers.
AUTH = b"*2\r\n$4\r\nAUTH\r\n$5\r\np:w/d\r\n"
LIST = b"*2\r\n$6\r\nCLIENT\r\n$4\r\nLIST\r\n"
LISTED = b"$%d\r\n%s\r\n" % (len(CLIENTS), CLIENTS.encode())


@pytest.fixture
def redis() -> Iterator[Callable[..., int]]:
    """Stand in for Redis: answer what is expected, over TLS with a certificate; return the port."""
    threads, listeners = [], []

    def start(*exchanges: tuple[bytes, bytes], context: ssl.SSLContext | None = None) -> int:
        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) if context else connection as stream:
                    for asked, answer in exchanges:
                        if stream.recv(len(asked), 0) == asked:
                            stream.sendall(answer)
            except OSError:
                pass  # the client does not trust it, or never came

        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return listener.getsockname()[1]

    yield start
    for thread, listener in zip(threads, listeners, strict=True):
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    script = CHECKOUT / "deploy" / "tls" / "make-certificates.sh"
    subprocess.run(["sh", script, folder], check=True, capture_output=True)
    return folder


def test_the_name_of_a_connection_says_any_queue_and_a_strangers_none() -> None:
    name = client_name(["convert", POOL])
    assert all("!" <= letter <= "~" for letter in name), "what Redis takes as a name"
    assert queues_of_client(name) == ["convert", POOL]
    assert queues_of_client("grafana") == []


def test_workers_name_their_connections_and_others_do_not() -> None:
    for queues, expected in ((["convert"], client_name(["convert"])), ([], None)):
        app = create_app("redis://127.0.0.1:1/0", Settings(_env_file=None), queues)
        assert app.conf.broker_transport_options.get("client_name") == expected
        app.close()


def test_queues_of_this_database_whose_workers_are_heard_are_served(redis) -> None:
    port = redis((AUTH, b"+OK\r\n"), (LIST, LISTED))
    assert served_queues(f"redis://:p%3Aw%2Fd@127.0.0.1:{port}/0", timeout_s=30) == {"convert", POOL}


@pytest.mark.parametrize(
    ("answer", "message"),
    [(b"-WRONGPASS invalid password\r\n", "WRONGPASS invalid password"), (b"", "it closed the connection")],
)
def test_what_redis_refuses_is_said(redis, answer: bytes, message: str) -> None:
    with pytest.raises(BrokerUnreachableError, match=f"Redis cannot be reached: {message}"):
        served_queues(f"redis://:p%3Aw%2Fd@127.0.0.1:{redis((AUTH, answer))}/0", timeout_s=30)


@pytest.mark.process
def test_over_tls_only_the_named_authority_is_trusted(redis, certificates: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "redis.crt", certificates / "redis.key")

    def served(query: str) -> frozenset[str]:
        port = redis((LIST, LISTED), context=context)
        return served_queues(f"rediss://127.0.0.1:{port}/0{query}", timeout_s=30)

    assert "convert" in served(f"?ssl_ca_certs={certificates}/ca.crt")
    assert "convert" in served("?ssl_cert_reqs=none")
    with pytest.raises(BrokerUnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        served("")
