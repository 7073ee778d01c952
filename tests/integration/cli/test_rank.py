"""`nnlite serve`: the listener as a process, its token, and a generator's client."""

import json
import signal
import stat
from pathlib import Path

import pytest

from generated import net
from nnlite.cli.rank import read_token
from nnlite.errors import NnliteError
from nnlite.ranking.client import RankClient, RankError
from waiting import HANG_S


def test_a_generator_asks_a_listener_that_runs_until_it_is_stopped(servers, start):
    process = start("serve", "--port", "0")
    ready = next(line for line in map(json.loads, process.stderr) if line["event"] == "ready")
    assert ready["url"].startswith("http://127.0.0.1:")
    client = RankClient(ready["url"], token_file=ready["token_file"])
    asked = client.rank_these([{"name": "A0_B0", "code": net("A0_B0"), "accuracy": 0.5}], pools=["phones"])
    assert client.rank(asked["campaign"])["waiting"] == [asked["asked"][0]["model"]]
    with pytest.raises(RankError, match="Authorization") as raised:
        RankClient(ready["url"], token="guessed").rank(asked["campaign"])
    assert raised.value.status == 401
    process.send_signal(signal.SIGTERM)
    assert process.wait(HANG_S) == 0


def test_the_token_is_made_once_and_only_for_this_account(tmp_path):
    file = tmp_path / "home" / "rank-token"
    token = read_token(file, make=True)
    assert len(token) > 40
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_token(file, make=True) == token


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (None, None, "No such file or directory; name a file of yours"),
        ("secret", 0o644, "others may read it; chmod 600"),
        ("", 0o600, "is empty; write the password into it"),
        ("a\nb", 0o600, "has 2 lines"),
    ],
)
def test_a_token_file_that_cannot_be_used_is_said(content, mode, said, tmp_path: Path):
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    with pytest.raises(NnliteError) as raised:
        read_token(file, make=False)
    assert said in str(raised.value)
    assert f"--token-file {file}" in str(raised.value)


def test_a_token_that_systemd_provides_may_have_any_mode(tmp_path, monkeypatch):
    # Its access list shows as the rights of a group.
    (tmp_path / "rank_token").write_text("secret\n")
    (tmp_path / "rank_token").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_token(tmp_path / "rank_token", make=False) == "secret"
