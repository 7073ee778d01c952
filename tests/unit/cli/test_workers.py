"""Credentials reach a conversion worker through a private file, never through its environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnlite.cli.workers import benchmark, conversion_environment
from nnlite.errors import NnliteError
from nnlite.settings import load_settings
from waiting import HANG_S

CREDENTIALS = {
    "NNLITE_DATABASE_URL": "postgresql://user:secret@host/name",
    "NNLITE_BROKER_URL": "redis://:hush@host/0",
}


@pytest.fixture
def environment():
    """Make a worker's environment; the private files that it names are closed after the test."""
    files = []

    def make(**variables: str) -> dict[str, str]:
        env = conversion_environment(dict(variables))
        if "NNLITE_SECRETS_FILE" not in variables and "NNLITE_SECRETS_FILE" in env:
            files.append(Path(env["NNLITE_SECRETS_FILE"]))
        return env

    yield make
    for file in files:
        os.close(int(file.name))


def test_nothing_of_a_credential_is_left_in_the_environment(environment):
    hook = {"NNLITE_HOOKS__WEBHOOK_URL": "https://chat.example/secret"}
    env = environment(PATH="/bin", NNLITE_HOME="/data", **CREDENTIALS, **hook)
    assert not {*CREDENTIALS, *hook} & set(env)
    assert not any("secret" in value or "hush" in value for value in env.values())
    assert (env["PATH"], env["NNLITE_HOME"]) == ("/bin", "/data")


def test_credentials_are_in_a_file_that_only_its_owner_may_read(environment):
    file = Path(environment(**CREDENTIALS)["NNLITE_SECRETS_FILE"])
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("password", ["secret", "it's", 'a"b', "back\\slash\\", "${HOME}", "$1#x y", "ä%27"])
def test_the_worker_reads_the_same_credentials(environment, monkeypatch, tmp_path, password):
    monkeypatch.chdir(tmp_path)
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    url = f"postgresql://user:{password}@host/name"
    env = environment(NNLITE_DATABASE_URL=url, NNLITE_BROKER_URL=CREDENTIALS["NNLITE_BROKER_URL"])
    monkeypatch.setenv("NNLITE_SECRETS_FILE", env["NNLITE_SECRETS_FILE"])
    settings = load_settings()
    # A URL may spell a brace as %7B.
    assert settings.database_url.replace("%7B", "{") == url
    assert settings.broker_url == CREDENTIALS["NNLITE_BROKER_URL"]


@pytest.mark.process
def test_the_file_is_readable_after_exec_and_ends_with_the_process(environment):
    env = environment(PATH=os.environ["PATH"], **CREDENTIALS)
    descriptor = int(Path(env["NNLITE_SECRETS_FILE"]).name)
    code = "import os; print(open(os.environ['NNLITE_SECRETS_FILE']).read())"
    read = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        pass_fds=[descriptor],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "secret" in read.stdout and "hush" in read.stdout
    assert str(Path(env["NNLITE_SECRETS_FILE"]).readlink()).endswith("(deleted)")


def test_without_credentials_there_is_no_file(environment):
    assert "NNLITE_SECRETS_FILE" not in environment(PATH="/bin")
    assert "NNLITE_SECRETS_FILE" not in environment(NNLITE_DATABASE_URL="")


def test_a_secrets_file_of_the_users_own_is_passed_on(environment):
    assert (
        environment(NNLITE_SECRETS_FILE="/run/secrets/nnlite")["NNLITE_SECRETS_FILE"] == "/run/secrets/nnlite"
    )


def test_credentials_in_two_places_are_refused(environment):
    with pytest.raises(NnliteError, match=r"set NNLITE_BROKER_URL in NNLITE_SECRETS_FILE alone, not in both"):
        environment(NNLITE_SECRETS_FILE="/x", NNLITE_BROKER_URL="redis://:hush@host/0")


def test_a_worker_stops_softly_and_computes_with_one_thread(environment):
    env = environment(OMP_NUM_THREADS="8")
    assert (env["REMAP_SIGTERM"], env["OMP_NUM_THREADS"], env["HF_HUB_OFFLINE"]) == ("SIGQUIT", "1", "1")


@pytest.mark.process
def test_a_worker_imports_no_module_from_its_working_directory(monkeypatch, tmp_path):
    became = []
    monkeypatch.setattr(os, "execve", lambda _path, command, environ: became.append((command, environ)))
    (tmp_path / "nnlite_benchmark.py").write_text("raise SystemExit('a stranger')")
    benchmark(device="host", pool=None, name=None)
    ((command, environment),) = became

    python = command[: command.index("-m")]
    command = [*python, "-c", "import nnlite_benchmark"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, timeout=HANG_S, check=False
    )

    assert done.returncode == 0, done.stderr
