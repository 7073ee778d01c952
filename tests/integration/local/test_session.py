"""Embedded servers are started once, shared, restarted after crashes, and stopped by the last user."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg2
import pytest

from conftest import embedded_settings
from integration.local.observing import answer, processes_of, read_it, write_something
from nnlite.errors import NnliteError
from nnlite.local import LocalError, endpoints, psql_command, servers
from nnlite.settings import Settings
from waiting import HANG_S, end_all, is_alive, wait_until


def test_a_second_user_joins_and_the_last_one_stops_them(home, start_user):
    with servers(embedded_settings(home)) as mine:
        other = start_user(home)
        assert other.endpoints() == mine
    assert answer(mine)
    other.leave()
    assert not answer(mine)
    assert not processes_of(home)


def test_users_that_start_at_once_share_one_pair(bare_home, start_user):
    home = bare_home
    users = [start_user(home) for _ in range(3)]
    found = {user.endpoints() for user in users}
    assert len(found) == 1
    programs = [process.name() for process in processes_of(home) if process.cwd().endswith("/data")]
    assert programs.count("valkey-server") == 1
    assert (
        len([process for process in processes_of(home) if "server_daemon" in " ".join(process.cmdline())])
        == 1
    )


def test_address_password_and_data_outlive_a_restart(home):
    settings = embedded_settings(home)
    with servers(settings) as first:
        write_something(first)
    with servers(settings) as second:
        assert second == first
        assert read_it(second) == (7, b"7")


def test_ctrl_c_does_not_end_the_servers(home, start_user):
    user = start_user(home)
    found = user.endpoints()
    os.killpg(user.process.pid, signal.SIGINT)
    assert user.says() == "interrupted"
    assert answer(found)
    user.leave()


def test_servers_end_soon_after_their_only_user_is_killed(home, start_user):
    user = start_user(home)
    found = user.endpoints()
    user.kill()
    wait_until(lambda: not processes_of(home), "servers and their daemon are gone")
    assert not answer(found)


def test_servers_whose_user_and_daemon_were_killed_are_adopted(home, start_user):
    user = start_user(home)
    user.endpoints()
    before = recorded(home)
    psutil.Process(before["guardian"]["pid"]).kill()
    user.kill()
    with servers(embedded_settings(home)):
        after = recorded(home)
        assert after["servers"] == before["servers"]
        assert after["guardian"] != before["guardian"]


def test_committed_data_survive_a_kill_of_everything(home, start_user):
    user = start_user(home)
    write_something(user.endpoints())
    end_all(processes_of(home))
    user.kill()
    wait_until(lambda: not processes_of(home), "everything is gone")
    with servers(embedded_settings(home)) as again:
        assert read_it(again) == (7, b"7")


def hangs(backend: psutil.Process) -> bool:
    """Have a backend hang, so that it does not notice that its parent died; return False if it has ended."""
    with suppress(psutil.NoSuchProcess):
        backend.suspend()
        return True
    return False


def test_backends_of_a_killed_postmaster_do_not_hinder_the_next_start(home, start_user):
    user = start_user(home)
    write_something(user.endpoints())
    pids = recorded(home)
    psutil.Process(pids["guardian"]["pid"]).kill()
    postmaster = psutil.Process(pids["servers"]["postgres"]["process"]["pid"])
    backends = [backend for backend in postmaster.children() if hangs(backend)]
    postmaster.kill()
    user.kill()
    with servers(embedded_settings(home, stop_timeout_s=2)) as again:
        assert read_it(again) == (7, b"7")
    assert not any(is_alive(backend) for backend in backends)


def test_servers_that_crash_while_in_use_are_restarted_with_their_data(home):
    with servers(embedded_settings(home)) as mine:
        write_something(mine)
        for name in ("valkey", "postgres"):
            psutil.Process(recorded(home)["servers"][name]["process"]["pid"]).kill()
        wait_until(lambda: not answer(mine), "the crash is noticed")
        wait_until(lambda: answer(mine), "the daemon started them again")
        assert read_it(mine) == (7, b"7")


def test_another_process_with_a_recorded_pid_is_not_signalled(home):
    settings = embedded_settings(home)
    with servers(settings):
        pass
    with subprocess.Popen(["sleep", "3600"]) as stranger:
        record = recorded(home)
        process = {"pid": stranger.pid, "started": "another boot:1"}
        record["guardian"] = process
        for entry in record["servers"].values():
            entry["process"] = process
        (home / "servers.json").write_text(json.dumps(record))
        (home / "postgres" / "data" / "postmaster.pid").write_text(f"{stranger.pid}\n{home}\n1\n5432\n")
        with servers(settings) as found:
            assert answer(found)
        assert stranger.poll() is None
        stranger.kill()


def test_a_lost_state_file_costs_the_passwords_but_no_data(home):
    settings = embedded_settings(home)
    with servers(settings) as first:
        write_something(first)
    (home / "servers.json").unlink()
    with servers(settings) as second:
        assert second.database_url != first.database_url
        assert read_it(second) == (7, b"7")


def test_a_wrong_password_is_refused(home):
    with servers(embedded_settings(home)) as mine:
        password = recorded(home)["servers"]["postgres"]["password"]
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(mine.database_url.replace(password, "guess"))


def test_the_state_file_is_private(home):
    with servers(embedded_settings(home)):
        assert (home / "servers.json").stat().st_mode & 0o777 == 0o600
        for process in processes_of(home):
            assert recorded(home)["servers"]["valkey"]["password"] not in " ".join(process.cmdline())


def test_named_servers_are_used_and_nothing_is_started(tmp_path):
    named = Settings(
        home=tmp_path / "home", database_url="postgresql://db/x", broker_url="redis://r/0", _env_file=None
    )
    with servers(named) as found:
        assert (found.database_url, found.broker_url) == ("postgresql://db/x", "redis://r/0")
    assert endpoints(named) == found
    assert not (tmp_path / "home").exists()


def test_only_the_server_that_is_not_named_is_embedded(home):
    named = Settings(home=home, database_url="postgresql://db/x", broker_url=None, _env_file=None)
    with servers(named) as found:
        assert found.database_url == "postgresql://db/x"
        assert running(home) == ["valkey"]
        with servers(embedded_settings(home)) as both:
            assert answer(both)
            assert both.broker_url == found.broker_url


def test_endpoints_start_nothing_and_give_a_hint(home):
    settings = embedded_settings(home)
    with pytest.raises(NnliteError, match="nnlite run"):
        endpoints(settings)
    with servers(settings) as mine:
        assert endpoints(settings) == mine
    with pytest.raises(NnliteError, match="nnlite run"):
        endpoints(settings)


def test_psql_opens_the_database_without_showing_the_password(home):
    settings = embedded_settings(home)
    with servers(settings) as mine:
        command, environment = psql_command(settings)
        result = subprocess.run(
            [*command, "-At", "-c", "SELECT current_database()"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=HANG_S,
        )
        assert result.stdout.strip() == "nnlite", result.stderr
        assert environment["PGPASSWORD"] in mine.database_url
        assert environment["PGPASSWORD"] not in " ".join(command)


def test_a_missing_psql_is_reported(home, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LocalError, match="no psql here: apt-get install postgresql-client"):
        psql_command(
            embedded_settings(home).model_copy(
                update={"database_url": "postgresql://nnlite@elsewhere/nnlite"}
            )
        )


def test_the_server_daemon_imports_nothing_heavy():
    code = (
        "import sys, nnlite.local.server_daemon; "
        "print('pydantic' in sys.modules, 'sqlalchemy' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S)
    assert result.stdout.split() == ["False", "False"], result.stderr


def running(home: Path) -> list[str]:
    """Return the servers that run, as `servers.json` says."""
    return [name for name, entry in recorded(home)["servers"].items() if entry["process"]]


def recorded(home: Path) -> dict:
    """Return what `servers.json` says."""
    return json.loads((home / "servers.json").read_text())
