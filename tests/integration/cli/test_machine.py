"""Commands about the machine and its servers: doctor, the database, the reaper."""

import json
import signal
import subprocess
import sys
from importlib.metadata import version

import pytest

from nnlite.db.engine import autocommit, engine_for
from nnlite.reaper.reaper import ADVISORY_LOCK
from unit.conversion.test_seccomp import OTHER_KERNEL
from waiting import HANG_S, wait_until


def found(said) -> dict[str, str]:
    return {row["subject"]: row["state"] for row in said}


@pytest.mark.usefixtures("servers")
def test_doctor_finds_servers_that_answer_a_store_and_models(nnlite, tmp_path):
    said = nnlite("doctor", "--json")
    states = found(said.rows)
    assert (states["servers"], states["artifacts"], states["LEMUR"], states["machine"]) == ("ok",) * 4
    (lemur,) = [row for row in said.rows if row["subject"] == "LEMUR"]
    assert lemur["message"] == "6 models, 5 of them usable"
    assert (tmp_path / "home" / "artifacts").is_dir()
    versions = {row["subject"]: row["message"] for row in said.rows}
    assert versions["nnlite"].startswith(f"{version('nnlite')}, Python 3.")
    assert versions["torch"] == f"{version('torch')}, for conversion workers"


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("NNLITE_DATABASE_URL", "postgresql://a:secret@127.0.0.1:1/x", "Postgres at postgresql://a:***@"),
        ("NNLITE_BROKER_URL", "redis://:secret@127.0.0.1:1/0", "Redis cannot be reached"),
        ("NNLITE_ARTIFACTS_URL", "/dev/null/store", "the artifact store /dev/null/store cannot be used"),
        ("NNLITE_RUNTIME_CHECK__LIBRARY", "/nowhere", "build it with `make runtime-check` in a checkout"),
        ("NNLITE_RUNTIME_CHECK__ENVIRONMENT", "/nowhere", "make one with `make runtime-check-tensorflow`"),
    ],
)
def test_doctor_reports_missing_parts_and_exits_1(nnlite, environment, variable, value, says):
    environment.setenv(variable, value)
    said = nnlite("doctor", "--json")
    assert said.code == 1
    (finding,) = [row for row in json.loads(said.out) if row["state"] == "missing"]
    assert says in finding["message"]
    assert "secret" not in said.out + said.err


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize("command", ["doctor", "worker convert"])
def test_a_kernel_that_does_not_keep_model_code_from_the_network_is_named(command):
    program = [sys.executable, OTHER_KERNEL, "ignores", "-m", "nnlite.cli", *command.split()]
    done = subprocess.run(program, capture_output=True, text=True, timeout=HANG_S, check=False)

    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1, said
    assert "the kernel does not hold the seccomp filter and permits socket(AF_INET)" in said
    assert "NNLITE_CONVERSION__NETWORK_FILTER=false" in said


@pytest.mark.usefixtures("servers")
def test_doctor_reports_a_database_that_is_not_migrated(nnlite, environment, bare_database_url):
    environment.setenv("NNLITE_DATABASE_URL", bare_database_url)
    said = nnlite("doctor")
    assert (said.code, "run `nnlite db upgrade`" in said.out) == (1, True)


def test_doctor_lists_every_setting_with_its_value_and_no_credential(
    nnlite, environment, database_url, tmp_path
):
    environment.setenv("NNLITE_DATABASE_URL", database_url)
    environment.setenv("NNLITE_BROKER_URL", "redis://host/0")
    environment.setenv("NNLITE_BROKER_PASSWORD_FILE", str(tmp_path / "password"))
    (tmp_path / "password").write_text("hush hush")
    environment.setenv("NNLITE_QUEUE__LEASE_S", "45")
    said = nnlite("doctor", "--settings", "--json")
    values = {row["setting"]: row["value"] for row in said.rows}
    assert (values["NNLITE_QUEUE__LEASE_S"], values["NNLITE_QUEUE__HEARTBEAT_S"]) == ("45.0", "10")
    assert (values["NNLITE_DATABASE_URL"], values["NNLITE_BROKER_URL"]) == ("(set)", "(set)")
    assert database_url not in said.out and "hush" not in said.out
    table = nnlite("doctor", "--settings").out
    assert "NNLITE_QUEUE__LEASE_S" in table and "45.0" in table


def test_a_database_is_brought_to_this_version_and_again_without_harm(
    nnlite, environment, bare_database_url, broker_url
):
    environment.setenv("NNLITE_DATABASE_URL", bare_database_url)
    environment.setenv("NNLITE_BROKER_URL", broker_url)
    for _ in range(2):
        said = nnlite("db", "upgrade")
        assert (said.code, said.out) == (0, "")
        assert said.err.splitlines()[-1].startswith("up to date: postgresql://")
        assert ":***@" in said.err
    assert nnlite("status", "--json").rows == []


@pytest.mark.usefixtures("servers")
def test_the_databases_url_is_an_answer_that_can_be_piped(nnlite, database_url):
    assert nnlite("db", "url").out == f"{database_url}\n"


@pytest.mark.usefixtures("servers")
def test_a_reaper_works_and_is_healthy_until_it_is_stopped(start, environment, database_url, tmp_path):
    health_file = tmp_path / "alive"
    environment.setenv("NNLITE_HEALTH_FILE", str(health_file))
    engine = engine_for(database_url)
    holding = f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {ADVISORY_LOCK}"
    reaper = start("reaper")
    with autocommit(engine) as connection:
        wait_until(
            lambda: reaper.poll() is not None or connection.exec_driver_sql(holding).first(),
            "the reaper works",
        )
        assert reaper.poll() is None, reaper.communicate()
        assert health_file.exists()
        reaper.send_signal(signal.SIGTERM)
        out, err = reaper.communicate(timeout=HANG_S)
        assert (reaper.returncode, out, health_file.exists()) == (0, "", False), err
        assert connection.exec_driver_sql(holding).first() is None
    engine.dispose()


def test_without_arguments_there_is_help(nnlite):
    said = nnlite("--help")
    assert said.code == 0
    for command in ("run", "submit", "watch", "status", "results", "failures", "retry", "cancel", "pause",
                    "resume", "models", "worker", "reaper", "flower", "check", "db", "doctor", "devices",
                    "export"):  # fmt: skip
        assert command in said.out
        assert nnlite(command, "--help").code == 0
