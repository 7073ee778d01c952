"""The end of a campaign is said once by each hook; a hook that fails is said, and costs nothing."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from integration.canned import finish_benchmark, queued_benchmark
from integration.conftest import Cluster
from nnlite.campaigns import control
from nnlite.reaper.reaper import Reaper
from nnlite.results.hooks import run_hooks, take_ended
from nnlite.settings.hooks import HookSettings
from waiting import HANG_S, wait_until

RECORDER = f"{sys.executable} {Path(__file__).parent / 'programs' / 'record_input.py'}"


@pytest.fixture
def ended(cluster: Cluster) -> Cluster:
    """A cluster whose campaign `night` has ended, with one model."""
    finish_benchmark(cluster, queued_benchmark(cluster))
    return cluster


@pytest.fixture
def web() -> Iterator[HTTPServer]:
    """A server that keeps what is posted to it in `posted`; it refuses /refuse, and /garbage is not HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.server.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if self.path == "/garbage":
                self.wfile.write(b"garbage\r\n")
                return
            self.send_response(403 if self.path == "/refuse" else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.posted = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def problem_of(cluster: Cluster, name: str = "night") -> str | None:
    (row,) = cluster.rows("SELECT hooks_problem FROM campaign WHERE name = :name", name=name)
    return row["hooks_problem"]


ANY = HookSettings(command="true")


def recording(folder: Path) -> HookSettings:
    """A command that writes its input into the file `said` of a folder."""
    return HookSettings(command=f"{RECORDER} {folder / 'said'}", timeout_s=HANG_S)


def test_an_ended_campaign_is_taken_once_and_one_with_work_is_not(ended: Cluster) -> None:
    ended.submit("two", name="day")
    ended.submit("three", name="paused")
    control.pause(ended.engine, "paused")
    ended.submit("four", name="cancelled")
    control.cancel(ended.engine, "cancelled")
    assert take_ended(ended.engine, ANY) == ["night"]
    assert take_ended(ended.engine, ANY) == []


def test_a_campaign_that_goes_on_again_is_taken_at_its_next_end(ended: Cluster) -> None:
    assert take_ended(ended.engine, ANY, "night") == ["night"]
    ended.change("UPDATE conversion SET state = 'queued'")
    assert take_ended(ended.engine, ANY, "night") == []
    ended.change("UPDATE conversion SET state = 'done'")
    assert take_ended(ended.engine, ANY, "night") == ["night"]


def test_what_ended_before_a_hook_was_set_is_no_news(ended: Cluster) -> None:
    assert take_ended(ended.engine, HookSettings()) == []
    assert take_ended(ended.engine, ANY) == []


def test_a_command_gets_the_campaign_as_its_input(ended: Cluster, tmp_path: Path) -> None:
    (name,) = take_ended(ended.engine, ANY)
    assert run_hooks(ended.engine, name, recording(tmp_path)) is None
    said = json.loads((tmp_path / "said").read_text())
    assert (said["name"], said["models"], said["measured"], said["failed"]) == ("night", 1, 1, 0)
    assert said["text"] == (
        "nnlite: campaign night has ended; 1 model: 1 converted, 1 measured, 0 failed, 0 skipped"
    )
    assert said["CAMPAIGN"] == "night"
    assert problem_of(ended) is None


def test_a_webhook_is_posted_to(ended: Cluster, web: HTTPServer) -> None:
    settings = HookSettings(webhook_url=f"http://127.0.0.1:{web.server_port}/secret")
    assert run_hooks(ended.engine, "night", settings) is None
    (posted,) = web.posted
    assert posted["text"].startswith("nnlite: campaign night has ended")


def test_a_webhook_that_does_not_speak_http_is_told(ended: Cluster, web: HTTPServer) -> None:
    settings = HookSettings(webhook_url=f"http://127.0.0.1:{web.server_port}/garbage")
    problem = run_hooks(ended.engine, "night", settings)
    assert problem == "webhook: 127.0.0.1 does not speak HTTP: BadStatusLine"


def test_a_campaign_that_is_gone_meanwhile_costs_nothing(ended: Cluster) -> None:
    assert run_hooks(ended.engine, "gone", ANY) == "it was deleted or renamed before they ran"


def test_mail_is_given_to_sendmail(ended: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sendmail = tmp_path / "sendmail"
    sendmail.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/arguments\ncat >{tmp_path}/mail\n')
    sendmail.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert (
        run_hooks(ended.engine, "night", HookSettings(mail_to=("a@lab", "b@lab"), timeout_s=HANG_S)) is None
    )
    assert (tmp_path / "arguments").read_text().split() == ["-i", "--", "a@lab", "b@lab"]
    mail = (tmp_path / "mail").read_text()
    assert "Subject: nnlite: campaign night has ended" in mail and '"measured": 1' in mail


def test_all_hooks_that_fail_are_told_without_secrets_and_the_others_run(
    ended: Cluster, web: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnlite.results.hooks._SENDMAIL_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = HookSettings(
        command="no-such-program",
        webhook_url=f"http://127.0.0.1:{web.server_port}/refuse",
        mail_to=("a@lab",),
    )
    take_ended(ended.engine, settings)
    assert problem_of(ended) == "the process that ran them was killed"
    problem = run_hooks(ended.engine, "night", settings)
    assert problem == (
        "command: no-such-program: No such file or directory; webhook: 127.0.0.1 answered 403 Forbidden; "
        "mail: no program sendmail is here; install a mail server, such as msmtp-mta"
    )
    assert problem_of(ended) == problem
    assert len(web.posted) == 1
    assert ended.rows("SELECT count(*) AS n FROM measurement") == [{"n": 1}]


def test_a_command_that_fails_is_told_with_its_output_and_one_that_hangs_is_ended(ended: Cluster) -> None:
    failing = HookSettings(command="sh -c 'echo no route; exit 3'", timeout_s=HANG_S)
    assert run_hooks(ended.engine, "night", failing) == "command: sh exited with status 3: no route"
    hanging = HookSettings(command="sleep 1000", timeout_s=0.1)
    assert run_hooks(ended.engine, "night", hanging) == "command: sleep did not end within 0.1 s"


def test_the_reaper_says_the_end(ended: Cluster, tmp_path: Path) -> None:
    settings = ended.settings.model_copy(update={"hooks": recording(tmp_path)})
    reaper = Reaper(ended.engine, ended.broker, settings)
    assert reaper.round(0)
    wait_until(lambda: problem_of(ended) is None, "the hook has ended")
    assert json.loads((tmp_path / "said").read_text())["name"] == "night"
    reaper.close()


def test_the_reaper_runs_the_hooks_of_few_campaigns_at_once(
    ended: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("second", "third"):
        ended.submit(name, name=name)
    ended.change("UPDATE conversion SET state = 'failed' WHERE state = 'queued'")
    monkeypatch.setattr("nnlite.reaper.reaper._HOOKS_AT_A_TIME", 2)
    said, go = tmp_path / "said", tmp_path / "go"
    command = f"sh -c 'echo x >> {said}; until [ -e {go} ]; do sleep 0.05; done'"
    hook = HookSettings(command=command, timeout_s=HANG_S)
    reaper = Reaper(ended.engine, ended.broker, ended.settings.model_copy(update={"hooks": hook}))
    taken = "SELECT count(*) AS n FROM campaign WHERE hooks_run_at IS NOT NULL"
    for _ in range(3):
        reaper.round(0)
        assert ended.rows(taken) == [{"n": 2}]
    go.touch()
    wait_until(lambda: reaper.round(0) and ended.rows(taken) == [{"n": 3}], "there is room for the third")
    wait_until(lambda: said.read_text() == "x\nx\nx\n", "its hook has run")
    reaper.close()
