"""HTTP listener of `nnlite serve`: JSON questions in, rankings out.

Every request but that for /v1/health has to bring the token, on the loopback interface too: other accounts
and web pages in a browser reach it there, and a question is code, which a conversion worker runs in its
sandbox.
"""

import hmac
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
import psycopg2
import structlog
from sqlalchemy.exc import SQLAlchemyError

from nnlite.campaigns.request import RequestConflict
from nnlite.errors import NnliteError, UsageError
from nnlite.ranking.question import parse_question
from nnlite.ranking.request_reader import request_file
from nnlite.ranking.service import RankService
from nnlite.results.ranking import RankOptions
from nnlite.results.reading import CampaignError, Row
from nnlite.vocabulary import Verdict

log = structlog.get_logger()

#: Longest question, bytes.
MAX_BODY: Final = 32 << 20
#: Bytes of a refused question that are read; a client that sends more may miss the answer.
MAX_DISCARDED: Final = 1 << 20
#: Longest wait for a ranking that one request may ask for, seconds.
MAX_WAIT_S: Final = 300.0
#: Requests that are answered at a time, those that wait included.
MAX_CONNECTIONS: Final = 64
#: A client that sends nothing for so long is disconnected, seconds.
CLIENT_TIMEOUT_S: Final = 30.0
#: From the connection to the last byte of a request, seconds: who sends slowly must not keep others out.
REQUEST_TIMEOUT_S: Final = 120.0
_RANK: Final = "/v1/rank"


class _Refused(Exception):
    """A request that is refused, with the status and the reason."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@contextmanager
def listening(service: RankService, token: str, address: str, port: int) -> Iterator[int]:
    """Answer requests while the block runs; yields the port.

    Args:
        port: 0: any free one.

    Raises:
        NnliteError: the address is not of this machine, or its port is taken.
    """
    handler = type("Handler", (_Handler,), {"service": service, "token": token})
    try:
        server = _Server((address, port), handler)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (")[0].lower()
        raise NnliteError(f"{address}:{port}: {why}; choose --address and --port") from error
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="listener")
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        service.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """Answers each connection in a thread of its own, and refuses those beyond the limit."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            _refuse(request)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what the handler did not expect; the usual one prints to stderr."""
        log.warning("request failed", client=client_address[0], exc_info=True)


def _refuse(request: socket) -> None:
    body = orjson.dumps({"error": f"{MAX_CONNECTIONS} requests are being answered; try again later"})
    head = f"HTTP/1.0 503 Service Unavailable\r\nContent-Length: {len(body)}\r\n\r\n"
    with suppress(OSError):  # it is gone
        request.settimeout(1.0)
        request.sendall(head.encode() + body)


class _Handler(BaseHTTPRequestHandler):
    service: RankService
    token: str
    #: Bytes of the body; None: none of it was read.
    _unread: int | None = None
    server_version, sys_version = "nnlite", ""
    timeout = CLIENT_TIMEOUT_S

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = request_file(self.connection, silence_s=self.timeout, request_s=REQUEST_TIMEOUT_S)

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *arguments: Any) -> None:
        log.debug("request", client=self.client_address[0], line=format % arguments)

    def _answer(self, answer: Callable[[], Row]) -> None:
        status = HTTPStatus.OK
        try:
            body = answer()
        except _Refused as refused:
            status, body = refused.status, {"error": str(refused)}
        except (NnliteError, SQLAlchemyError, psycopg2.Error) as error:
            status, body = _status_of(error), {"error": _reason(error)}
        except Exception:
            log.exception("request failed", client=self.client_address[0], path=self.path)
            status, body = (
                HTTPStatus.INTERNAL_SERVER_ERROR,
                {"error": "nnlite failed; its log has the reason"},
            )
        self._discard_body()
        content = orjson.dumps(body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(content)

    def _get(self) -> Row:
        url = urlsplit(self.path)
        if url.path == "/v1/health":
            return {"status": "ok"}
        self._check_token()
        folder, _, name = url.path.rpartition("/")
        if folder != _RANK or not name:
            raise _Refused(HTTPStatus.NOT_FOUND, f"nothing at {url.path}; GET {_RANK}/CAMPAIGN, POST {_RANK}")
        query = _Query(url.query)
        options, seen, wait_s = query.options(), query.one("seen"), query.number("wait_s", MAX_WAIT_S)
        query.check_all_known()
        if wait_s is None:
            return self.service.rank(unquote(name), options)
        return self.service.wait_for_rank(unquote(name), options, seen=seen, timeout_s=wait_s)

    def _post(self) -> Row:
        self._check_token()
        if urlsplit(self.path).path != _RANK:
            raise _Refused(HTTPStatus.NOT_FOUND, f"nothing at {self.path}; POST {_RANK}")
        return self.service.rank_these(parse_question(self._body()))

    def _check_token(self) -> None:
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), f"Bearer {self.token}".encode()):
            raise _Refused(
                HTTPStatus.UNAUTHORIZED,
                "send the header Authorization: Bearer TOKEN; nnlite serve says where it is",
            )

    def _body(self) -> bytes:
        length = self._length()
        if length is None:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "send the question with a Content-Length")
        if length > MAX_BODY:
            raise _Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the question has {length:,} bytes, above the limit of {MAX_BODY:,}; ask for fewer models",
            )
        self._unread = 0
        try:
            body = self.rfile.read(length)
        except TimeoutError as error:
            limits = f"{CLIENT_TIMEOUT_S:g} s of silence, {REQUEST_TIMEOUT_S:g} s in all"
            reason = f"the question does not arrive in time, {limits}; ask for fewer models"
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, reason) from error
        if len(body) < length:
            raise _Refused(
                HTTPStatus.BAD_REQUEST, f"the question ended after {len(body):,} of {length:,} bytes"
            )
        return body

    def _length(self) -> int | None:
        text = self.headers.get("Content-Length", "")
        return int(text) if re.fullmatch("[0-9]{1,18}", text, flags=re.ASCII) else None

    def _discard_body(self) -> None:
        """Read what a refused client sends: a connection closed before that loses the answer."""
        unread = min(self._length() or 0, MAX_DISCARDED) if self._unread is None else self._unread
        while unread and (some := self.rfile.read(min(unread, 1 << 16))):
            unread -= len(some)


@dataclass
class _Query:
    """The parameters behind the `?` of a URL, each at most once."""

    text: str

    def __post_init__(self) -> None:
        try:
            self._values = parse_qs(
                self.text, keep_blank_values=True, strict_parsing=bool(self.text), max_num_fields=16
            )
        except ValueError as error:
            raise UsageError(f"the parameters of the URL cannot be read: {error}") from error
        self._known: set[str] = set()

    def one(self, name: str) -> str | None:
        self._known.add(name)
        values = self._values.get(name, [])
        if len(values) > 1:
            raise UsageError(f"{name} is given {len(values)} times")
        return values[0] if values else None

    def number(self, name: str, most: float) -> float | None:
        text = self.one(name)
        if text is None:
            return None
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 <= number <= most:
            raise UsageError(f"{name}={text} is not a number from 0 to {most:g}")
        return number

    def options(self) -> RankOptions:
        against, verdicts = self.one("against"), self.one("verdicts")
        try:
            accepted = tuple(map(Verdict, verdicts.split(","))) if verdicts else (Verdict.VALID,)
        except ValueError as error:
            raise UsageError(
                f"verdicts={verdicts}: choose among {', '.join(Verdict)}, with commas"
            ) from error
        return RankOptions(
            against=tuple(against.split(",")) if against else (),
            reference_ms=self.number("reference_ms", 1e9) or None,
            verdicts=accepted,
        )

    def check_all_known(self) -> None:
        if unknown := sorted(set(self._values) - self._known):
            raise UsageError(f"unknown parameter {unknown[0]}; there are {', '.join(sorted(self._known))}")


def _status_of(error: Exception) -> HTTPStatus:
    if isinstance(error, CampaignError):
        return HTTPStatus.NOT_FOUND
    if isinstance(error, RequestConflict):
        return HTTPStatus.CONFLICT
    if isinstance(error, UsageError):
        return HTTPStatus.BAD_REQUEST
    return HTTPStatus.SERVICE_UNAVAILABLE


def _reason(error: Exception) -> str:
    if not isinstance(error, NnliteError):
        return "Postgres does not answer; nothing was changed, try again later"
    return str(error)
