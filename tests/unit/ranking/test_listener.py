"""The listener of `nnlite serve`: who is answered, what is refused and how; and its client."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection

import pytest

from generated import NET
from nnlite.campaigns.request import RequestConflict
from nnlite.errors import NnliteError, Unavailable
from nnlite.ranking import listener, request_reader
from nnlite.ranking.client import RankClient, RankError
from nnlite.ranking.listener import listening
from nnlite.ranking.request_reader import request_file
from nnlite.results.ranking import RankOptions
from nnlite.results.reading import CampaignError
from nnlite.vocabulary import Verdict
from waiting import HANG_S

TOKEN = "a token"
MODEL = {"name": "a", "code": NET}


class Service:
    """Answers from a script, and keeps what it was asked."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.asked: list = []
        self.answers: list = []

    def rank_these(self, question):
        return self._answer(question)

    def rank(self, campaign, options):
        return self._answer((campaign, options))

    def wait_for_rank(self, campaign, options, *, seen, timeout_s):
        return self._answer((campaign, options, seen, timeout_s))

    def _answer(self, asked):
        self.asked.append(asked)
        answer = self.answers.pop(0) if self.answers else {"ended": True, "version": "1"}
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def port(service) -> Iterator[int]:
    with listening(service, TOKEN, "127.0.0.1", 0) as port:
        yield port


@pytest.fixture
def client(port) -> RankClient:
    return RankClient(f"http://127.0.0.1:{port}/", token=TOKEN)


def request(port, method, path, body=None, token=TOKEN, **headers):
    """Return the status and the JSON of a request."""
    authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
    with closing(HTTPConnection("127.0.0.1", port, timeout=HANG_S)) as connection:
        connection.request(method, path, body, authorization | headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_a_question_reaches_the_service_and_its_answer_the_client(service, client):
    service.answers = [{"campaign": "generation-7", "asked": [{"name": "a", "model": "a-1"}]}]
    answer = client.rank_these([MODEL], campaign="generation-7", pools=["phones"], precisions=["int8"])
    assert answer["asked"] == [{"name": "a", "model": "a-1"}]
    (question,) = service.asked
    assert (question.name, question.pools, question.models[0].code) == ("generation-7", ("phones",), NET)


def test_a_ranking_is_of_the_campaign_and_with_the_options_that_were_named(service, client):
    client.rank("night/1 +", against="g5,g6", verdicts="valid,noisy", reference_ms=20)
    options = RankOptions(against=("g5", "g6"), reference_ms=20.0, verdicts=(Verdict.VALID, Verdict.NOISY))
    assert service.asked == [("night/1 +", options)]


def test_waiting_ends_when_the_work_has(service, client):
    service.answers = [{"ended": False}, {"ended": False}, {"ended": True, "groups": ["best"]}]
    assert client.wait_for_rank("g", timeout_s=HANG_S)["groups"] == ["best"]
    assert len(service.asked) == 3


def test_waiting_ends_with_its_time(service, client):
    service.answers = [{"ended": False}]
    assert client.wait_for_rank("g", timeout_s=0) == {"ended": False}


def test_rankings_come_once_for_each_change_until_the_end(service, client):
    service.answers = [
        {"ended": False, "version": "1"}, {"ended": False, "version": "1"}, {"ended": True, "version": "2"},
    ]  # fmt: skip
    assert [ranking["version"] for ranking in client.rankings("g")] == ["1", "2"]
    assert [asked[2:] for asked in service.asked[1:]] == [("1", 60.0), ("1", 60.0)]


@pytest.mark.parametrize("token", [None, "", "another", "é"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/rank/g"), ("POST", "/v1/rank"), ("GET", "/")])
def test_without_the_token_nothing_is_answered(service, port, token, method, path):
    headers = {"Authorization": f"Bearer {token}".encode()} if token else {}
    status, body = request(port, method, path, b"{}" if method == "POST" else None, token=None, **headers)
    assert (status, service.asked) == (401, [])
    assert "Authorization: Bearer TOKEN" in body["error"]


def test_the_health_check_needs_no_token(port):
    assert request(port, "GET", "/v1/health", token=None) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        (("GET", "/v1/rank", None), 404, "GET /v1/rank/CAMPAIGN"),
        (("GET", "/v1/rank/", None), 404, "nothing at /v1/rank/"),
        (("POST", "/v1/other", b"{}"), 404, "POST /v1/rank"),
        (("POST", "/v1/rank", b"["), 400, "not usable JSON"),
        (("GET", "/v1/rank/g?wait_s=1e9", None), 400, "wait_s=1e9 is not a number from 0 to 300"),
        (("GET", "/v1/rank/g?wait_s=nan", None), 400, "wait_s=nan is not a number"),
        (("GET", "/v1/rank/g?verdicts=good", None), 400, "verdicts=good: choose among valid, noisy"),
        (("GET", "/v1/rank/g?wait=1", None), 400, "unknown parameter wait; there are against"),
        (("GET", "/v1/rank/g?wait_s=1&wait_s=2", None), 400, "wait_s is given 2 times"),
        (("GET", "/v1/rank/g?" + "&".join(f"a{i}=1" for i in range(20)), None), 400, "cannot be read"),
    ],
)
def test_a_wrong_request_is_refused_with_what_is_right(service, port, asked, status, said):
    found, answer = request(port, *asked)
    assert (found, service.asked) == (status, [])
    assert said in answer["error"]


def test_other_methods_are_not_there(port):
    with closing(HTTPConnection("127.0.0.1", port, timeout=HANG_S)) as connection:
        connection.request("DELETE", "/v1/rank/g")
        assert connection.getresponse().status == 501


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CampaignError("no campaign is named 'g'"), 404),
        (RequestConflict("campaign 'g' is cancelled"), 409),
        (Unavailable("the store does not answer"), 503),
        (RuntimeError("a secret"), 500),
    ],
)
def test_errors_have_their_status_and_only_explained_ones_their_text(service, client, error, status):
    service.answers = [error]
    with pytest.raises(RankError) as raised:
        client.rank("g")
    assert raised.value.status == status
    assert (str(error) in str(raised.value)) == (status != 500)


def test_a_question_that_is_too_long_is_refused_before_it_is_kept(service, port, monkeypatch):
    monkeypatch.setattr(listener, "MAX_BODY", 1000)
    status, answer = request(port, "POST", "/v1/rank", b"x" * 1001)
    assert (status, service.asked) == (413, [])
    assert "1,001 bytes, above the limit of 1,000" in answer["error"]


@contextmanager
def silent(port) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as connection:
        yield connection


def answer_to_head(port, *lines) -> bytes:
    """Return the answer to a question of which no byte follows its head."""
    head = ("POST /v1/rank HTTP/1.0", f"Authorization: Bearer {TOKEN}", *lines, "", "")
    with silent(port) as connection:
        connection.sendall("\r\n".join(head).encode())
        return connection.makefile("rb").read()


def test_a_question_without_a_length_is_refused(port):
    assert answer_to_head(port, "Transfer-Encoding: chunked").startswith(b"HTTP/1.0 411")


def test_a_silent_client_delays_nobody(port):
    with silent(port):
        assert request(port, "GET", "/v1/health")[0] == 200


def test_a_silent_client_is_disconnected(port, monkeypatch):
    monkeypatch.setattr(listener._Handler, "timeout", 0.2)
    with silent(port) as connection:
        assert connection.recv(1) == b""


def test_a_question_that_does_not_arrive_in_its_time_is_refused(service, port, monkeypatch):
    read = request_reader._RequestReader.readinto

    def read_until_late(reader, buffer):
        size = read(reader, buffer)
        reader._until_s = 0.0
        return size

    monkeypatch.setattr(request_reader._RequestReader, "readinto", read_until_late)
    answer = answer_to_head(port, "Content-Length: 9")
    assert answer.startswith(b"HTTP/1.0 408") and b"does not arrive in time" in answer
    assert service.asked == []


def test_each_byte_of_a_slow_client_does_not_prolong_its_time():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"a")
        with pytest.raises(TimeoutError):
            request_file(ours, silence_s=HANG_S, request_s=0).read(1)
        assert request_file(ours, silence_s=HANG_S, request_s=HANG_S).read(1) == b"a"
        assert ours.gettimeout() == HANG_S, "for the answer"


def test_connections_beyond_the_limit_are_told_so(service, monkeypatch):
    monkeypatch.setattr(listener, "MAX_CONNECTIONS", 1)
    with listening(service, TOKEN, "127.0.0.1", 0) as port, silent(port), silent(port) as second:
        answer = second.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.0 503")
        assert b"1 requests are being answered" in answer


def test_a_taken_port_is_said_with_the_options(port):
    with pytest.raises(NnliteError) as raised, listening(Service(), TOKEN, "127.0.0.1", port):
        pass
    assert str(raised.value) == f"127.0.0.1:{port}: address already in use; choose --address and --port"


def test_a_listener_that_is_not_there_is_said():
    gone = RankClient("http://127.0.0.1:1", token=TOKEN)
    with pytest.raises(RankError, match=r"cannot be reached: .*; is nnlite serve running there\?") as raised:
        gone.rank("g")
    assert raised.value.status is None


def test_the_client_reads_the_token_from_its_file(service, port, tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    RankClient(f"http://127.0.0.1:{port}", token_file=tmp_path / "token").rank("g")
    assert len(service.asked) == 1
