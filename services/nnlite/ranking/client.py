"""Client of `nnlite serve`. It needs Python alone: a generator's environment may hold a copy of this file.

client = RankClient(token_file="~/.local/share/nnlite/rank-token")
asked = client.rank_these([{"name": "A0_B1", "code": code, "accuracy": 0.71}], campaign="generation-7")
ranking = client.wait_for_rank("generation-7", timeout_s=3600)
best = ranking["groups"][0]["results"][0]
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

DEFAULT_URL: Final = "http://127.0.0.1:8765"
#: Longest wait of one request; longer ones are several requests.
_WAIT_S: Final = 60.0
#: Beyond the wait, until a request counts as lost.
_GRACE_S: Final = 30.0

Ranking = dict[str, Any]


class RankError(Exception):
    """The listener refused a request or cannot be reached; `status` is None in the second case."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class RankClient:
    """Asks for rankings.

    Args:
        token: that it was started with.
        token_file: a file with the token, where `token` is not given.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, token: str | None = None, token_file: str | Path | None = None
    ) -> None:
        if token is None:
            if token_file is None:
                raise ValueError("give token or token_file; nnlite serve says where the file is")
            token = Path(token_file).expanduser().read_text().strip()
        self._url, self._token = url.rstrip("/"), token
        # The token is for this address alone, and no proxy's business.
        self._opener = build_opener(ProxyHandler({}))

    def rank_these(
        self, models: Sequence[Mapping[str, Any]], *, campaign: str | None = None, **how: Any
    ) -> Ranking:
        """Submit models and return what is known of them; `asked` has the name that each has in rankings.

        Args:
            models: each with `name` and `code`; see the guide for the other fields.
            campaign: to add them to; None: one of their own, whose name the answer has.
            how: `pools`, `precisions`, `backends`, `threads`, `mode`, `priority`.

        Raises:
            RankError: the question was refused; nothing was submitted.
        """
        question = {"models": list(models), **how} | ({} if campaign is None else {"campaign": campaign})
        return self._answer("/v1/rank", json.dumps(question).encode())

    def rank(self, campaign: str, **options: Any) -> Ranking:
        """Return the ranking of a campaign as it is now; any user may have submitted it.

        Args:
            options: `against`, `verdicts` (names with commas), `reference_ms`.

        Raises:
            RankError: there is no such campaign, or an option cannot be used.
        """
        query = urlencode({name: value for name, value in options.items() if value is not None})
        return self._answer(f"/v1/rank/{quote(campaign, safe='')}?{query}".rstrip("?"))

    def wait_for_rank(self, campaign: str, *, timeout_s: float, **options: Any) -> Ranking:
        """Return the ranking once all work has ended, or as it is after `timeout_s`: see its `ended`.

        Raises:
            RankError: as `rank`.
        """
        ranking = self.rank(campaign, **options)
        deadline_s = time.monotonic() + timeout_s
        while not ranking["ended"] and (left_s := deadline_s - time.monotonic()) > 0:
            ranking = self.rank(campaign, wait_s=min(left_s, _WAIT_S), **options)
        return ranking

    def rankings(self, campaign: str, **options: Any) -> Iterator[Ranking]:
        """Yield the ranking now and whenever results arrive, the last time when all work has ended.

        Raises:
            RankError: as `rank`.
        """
        ranking = self.rank(campaign, **options)
        yield ranking
        while not ranking["ended"]:
            seen = ranking["version"]
            ranking = self.rank(campaign, wait_s=_WAIT_S, seen=seen, **options)
            if ranking["version"] != seen:
                yield ranking

    def _answer(self, path: str, body: bytes | None = None) -> Ranking:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = Request(self._url + path, data=body, headers=headers)  # noqa: S310 - the user's own URL
        try:
            with self._opener.open(request, timeout=_WAIT_S + _GRACE_S) as response:
                answer: Ranking = json.loads(response.read())
                return answer
        except HTTPError as error:
            raise RankError(_reason(error), error.code) from error
        except (URLError, OSError) as error:
            why = getattr(error, "reason", error)
            raise RankError(
                f"{self._url} cannot be reached: {why}; is nnlite serve running there?"
            ) from error


def _reason(error: HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"
