"""The server that answers Prometheus: one request at a time, and no client is waited for long."""

import socket
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

#: A client that says nothing for so long is hung up on, seconds.
_CLIENT_TIMEOUT_S = 5.0


class _Quiet(WSGIRequestHandler):
    """Logs no requests."""

    timeout = _CLIENT_TIMEOUT_S

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def http_server(listener: socket.socket, registry: CollectorRegistry) -> WSGIServer:
    """Return a server, yet to be run, that answers with the metrics of `registry` on `listener`."""
    address, port = listener.getsockname()[:2]
    server = WSGIServer((address, port), _Quiet, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    # What binding would have set after asking the DNS for our name.
    server.server_name, server.server_port = address, port
    server.setup_environ()
    server.set_app(make_wsgi_app(registry))
    return server
