"""Embedded servers of root and of plain users; nothing outside the home changes; errors have hints."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from conftest import embedded_settings
from integration.local.observing import answer, processes_of
from nnlite.errors import NnliteError
from nnlite.local import LocalError, endpoints, servers
from waiting import HANG_S, is_alive

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another account")


def nobody_can_run_us() -> bool:
    """Whether another account may read this environment: not below /root, or a checkout of mode 0700."""
    command = [sys.executable, "-c", "import nnlite.local"]
    try:
        return subprocess.run(command, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/").returncode == 0
    except PermissionError:
        return False


as_nobody = pytest.mark.skipif(
    os.geteuid() != 0 or not nobody_can_run_us(), reason="nobody cannot run this environment's Python"
)


def states(paths):
    return {path: (path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in paths}


@as_root
def test_for_root_the_servers_run_unprivileged_and_only_data_folders_change_owner(bare_home):
    home = bare_home
    outside = states([home, *home.parents])
    with servers(embedded_settings(home)):
        for process in processes_of(home):
            if "server_daemon" not in " ".join(process.cmdline()):
                assert process.uids().real != 0, process
    assert states([home, *home.parents]) == outside
    data = [home / "postgres" / "data", home / "valkey" / "data"]
    given_away = {path for path in home.rglob("*") if path.stat().st_uid != 0}
    assert {path for path in given_away if not any(path.is_relative_to(folder) for folder in data)} == set()
    assert set(data) <= given_away


@as_nobody
def test_a_plain_user_starts_and_stops_them(bare_home, start_user):
    home = bare_home
    os.chown(home, NOBODY, NOBODY)
    user = start_user(home, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")
    assert answer(user.endpoints())
    assert {process.uids().real for process in processes_of(home)} == {NOBODY}
    assert not list((home / "postgres").glob("pgserver-*")), "the wheel's files serve in place"
    user.leave()
    assert not processes_of(home)


@as_nobody
def test_an_account_without_an_entry_is_said_with_what_to_do(bare_home):
    nameless = 54321
    os.chown(bare_home, nameless, nameless)
    ended = subprocess.run(
        [sys.executable, "-m", "nnlite.cli", "submit", "--source", "nngpt", "--path", "/", "--follow"],
        user=nameless, group=nameless, extra_groups=[], cwd="/", capture_output=True, text=True,
        env={"NNLITE_HOME": str(bare_home), "HOME": str(bare_home)}, timeout=HANG_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "needs an account with an entry in /etc/passwd" in ended.stderr
    assert "Traceback" not in ended.stderr


@as_nobody
def test_root_does_not_take_over_the_home_of_another_account(bare_home, start_user):
    home = bare_home
    os.chown(home, NOBODY, NOBODY)
    user = start_user(home, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")
    user.endpoints()
    with pytest.raises(LocalError, match="home of nobody; run as nobody"), servers(embedded_settings(home)):
        pass
    user.leave()


@pytest.mark.skipif(
    subprocess.run(["unshare", "--user", "--map-root-user", "true"], capture_output=True).returncode != 0,
    reason="no user namespaces here",
)
def test_a_user_namespace_that_only_maps_root(bare_home, start_user):
    home = bare_home
    user = start_user(home, "unshare", "--user", "--map-root-user")
    assert answer(user.endpoints())
    user.leave()
    assert not processes_of(home)


@as_root
def test_a_folder_that_the_account_cannot_enter_is_reported_before_anything_is_created(make_home):
    closed = make_home()
    closed.chmod(0o700)
    with (
        pytest.raises(LocalError, match=f"cannot enter {closed} .*NNLITE_HOME.*chmod o\\+x"),
        servers(embedded_settings(closed / "deeper" / "home")),
    ):
        pass
    assert not list(closed.iterdir())


def test_data_of_another_postgres_version_are_refused(home):
    settings = embedded_settings(home)
    with servers(settings):
        pass
    version = home / "postgres" / "data" / "PG_VERSION"
    version.write_text("12\n")
    with pytest.raises(LocalError, match=r"made by PostgreSQL 12.*pg_dump"), servers(settings):
        pass


def test_a_port_that_another_program_took_is_replaced(home):
    settings = embedded_settings(home)
    with servers(settings) as first:
        ports = {name: entry["port"] for name, entry in recorded(home)["servers"].items()}
    with socket.create_server(("127.0.0.1", ports["valkey"])), servers(settings) as second:
        assert answer(second)
        assert second.database_url == first.database_url
        assert second.broker_url != first.broker_url


def test_a_damaged_state_file_is_reported_with_a_hint(home):
    (home / "servers.json").write_text("{")
    with pytest.raises(NnliteError, match=r"damaged.*remove it"):
        endpoints(embedded_settings(home))


@as_root
def test_a_full_disk_is_reported(bare_home):
    home = bare_home
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m,mode=755", "tmpfs", str(home)])
    if mounted.returncode:
        pytest.skip("may not mount here")
    try:
        refused = pytest.raises(LocalError, match=r"(?s)No space left on device.*free some space")
        with refused, servers(embedded_settings(home)):
            pass
        assert not (home / "postgres" / "data").exists()
        assert not processes_of(home)
    finally:
        subprocess.run(["umount", "--lazy", str(home)], check=True)


def test_an_interrupted_initialization_starts_over(home):
    settings = embedded_settings(home)
    with servers(settings):
        pass
    data = home / "postgres" / "data"
    # As after a kill during initdb: files there, but not yet moved to their place.
    shutil.move(data, data.with_name("data.unfinished"))
    with servers(settings) as again:
        assert answer(again)
    assert not data.with_name("data.unfinished").exists()


def test_a_hung_server_is_replaced(home, start_user, monkeypatch):
    monkeypatch.setattr("nnlite.local.server_control.ADOPTION_S", 5)
    user = start_user(home)
    user.endpoints()
    hung = psutil.Process(recorded(home)["servers"]["valkey"]["process"]["pid"])
    hung.suspend()
    with servers(embedded_settings(home, stop_timeout_s=5)) as found:
        assert answer(found)
    assert not is_alive(hung)
    user.leave()


def recorded(home: Path) -> dict:
    """Return what `servers.json` says."""
    return json.loads((home / "servers.json").read_text())
