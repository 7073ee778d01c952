"""Settings come from the environment, .env and a private file; what is wrong in them is reported."""

import os
from pathlib import Path

import pytest
from redis.connection import parse_url
from sqlalchemy import make_url

from nnlite.settings import Settings, SettingsError, all_settings, load_settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Mode, WorkKind


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    """An environment and a working folder without settings."""
    for name in os.environ:
        if name.upper().startswith("NNLITE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def secrets(monkeypatch, tmp_path):
    """Write a secrets file and name it in the environment."""

    def write(content: str, mode: int = 0o600) -> Path:
        path = tmp_path / "secrets"
        path.write_text(content)
        path.chmod(mode)
        monkeypatch.setenv("NNLITE_SECRETS_FILE", str(path))
        return path

    return write


def test_nested_settings_are_separated_by_two_underscores(monkeypatch):
    monkeypatch.setenv("NNLITE_QUEUE__LEASE_S", "45")
    monkeypatch.setenv("NNLITE_MEASUREMENT__MIN_RUNS", "20")
    settings = load_settings()
    assert (settings.queue.lease_s, settings.measurement.min_runs) == (45, 20)
    assert settings.queue.heartbeat_s == 10, "its neighbours keep their defaults"


def test_every_setting_has_one_name():
    assert {"NNLITE_HOME", "NNLITE_DATABASE_URL", "NNLITE_CONVERSION__TIMEOUT_S"} <= all_settings().keys()


def test_an_empty_variable_counts_as_unset(monkeypatch):
    defaults = load_settings()
    for name in all_settings():
        monkeypatch.setenv(name, "")
    assert load_settings() == defaults


def test_an_unknown_setting_is_refused_with_the_closest_name(monkeypatch):
    monkeypatch.setenv("NNLITE_QUEUE__LEASES", "45")
    with pytest.raises(SettingsError, match=r"NNLITE_QUEUE__LEASES; did you mean NNLITE_QUEUE__LEASE_S\?"):
        load_settings()


def test_an_unknown_setting_that_resembles_nothing_points_to_the_list(monkeypatch):
    monkeypatch.setenv("NNLITE_XYZZY", "1")
    with pytest.raises(SettingsError, match="unknown setting NNLITE_XYZZY; `nnlite doctor --settings`"):
        load_settings()


def test_an_unknown_setting_in_a_file_is_refused_with_the_file(secrets, tmp_path):
    (tmp_path / ".env").write_text("NNLITE_BROKER_ULR=redis://there\n")
    with pytest.raises(SettingsError, match=r"NNLITE_BROKER_ULR in \.env; did you mean NNLITE_BROKER_URL\?"):
        load_settings()
    (tmp_path / ".env").unlink()
    secrets("NNLITE_DATABSE_URL=postgresql://there\n")
    with pytest.raises(SettingsError, match=r"NNLITE_DATABSE_URL in .*secrets; did you mean"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("NNLITE_QUEUE__LEASE_S", "soon", "valid number"),
        ("NNLITE_CONVERSION__THREADS", "0", "greater than 0"),
        ("NNLITE_MEASUREMENT__MIN_RUNS", "1.5", "valid integer"),
        ("NNLITE_CATALOG__EXCLUDE", "ga-*", "lists are JSON"),
        ("NNLITE_QUEUE", "fast", "lists are JSON"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_variable(monkeypatch, variable, value, message):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"^{variable}[= ].*{message}"):
        load_settings()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"QUEUE__LEASE_S": "19"}, "at least twice heartbeat_s"),
        ({"QUEUE__REAPER_INTERVAL_S": "15"}, "more than twice reaper_interval_s"),
        ({"CONVERSION__TIMEOUT_S": "7200"}, "must not be below timeout_s"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(monkeypatch, changed, message):
    for name, value in changed.items():
        monkeypatch.setenv(f"NNLITE_{name}", value)
    with pytest.raises(SettingsError, match=message):
        load_settings()


def test_a_list_is_json(monkeypatch):
    monkeypatch.setenv("NNLITE_CATALOG__EXCLUDE", '["ga-*", "rl-*"]')
    assert load_settings().catalog.exclude == ("ga-*", "rl-*")


def test_the_environment_precedes_the_env_file_and_a_tilde_is_expanded(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("NNLITE_HOME=~/lab\nNNLITE_LOG_LEVEL=DEBUG\nOTHER=1\n")
    monkeypatch.setenv("NNLITE_LOG_LEVEL", "ERROR")
    settings = load_settings()
    assert (settings.home, settings.log_level) == (Path.home() / "lab", "ERROR")


def test_credentials_come_from_a_private_file(secrets, monkeypatch):
    monkeypatch.setenv("NNLITE_BROKER_URL", "redis://elsewhere")
    secrets("NNLITE_DATABASE_URL=postgresql://user:secret@host/name\nNNLITE_BROKER_URL=redis://here\n")
    settings = load_settings()
    assert settings.database_url == "postgresql://user:secret@host/name"
    assert settings.broker_url == "redis://here", "the private file is before the environment"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_secrets_file_that_others_may_read_is_refused(secrets, mode):
    path = secrets("NNLITE_DATABASE_URL=postgresql://user:secret@host/name\n", mode)
    with pytest.raises(SettingsError, match=f"has mode {mode:04o}; make it private: chmod 600 {path}"):
        load_settings()


def test_a_missing_secrets_file_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("NNLITE_SECRETS_FILE", str(tmp_path / "gone"))
    with pytest.raises(SettingsError, match=r"gone: No such file or directory; name a readable file"):
        load_settings()


def test_a_secrets_file_that_only_the_env_file_names_is_refused(tmp_path):
    (tmp_path / ".env").write_text("NNLITE_SECRETS_FILE=secrets\n")
    with pytest.raises(SettingsError, match="set it in the environment"):
        load_settings()


@pytest.mark.parametrize("password", ["secret", "p@ss:w/rd#%20?", "it's ä"])
def test_the_password_of_a_file_is_inserted_into_the_url(monkeypatch, tmp_path, password):
    (tmp_path / "password").write_text(f"{password}\n")
    for name, url in (("DATABASE", "postgresql://nnlite@host:5432/name"), ("BROKER", "redis://host/0")):
        monkeypatch.setenv(f"NNLITE_{name}_URL", url)
        monkeypatch.setenv(f"NNLITE_{name}_PASSWORD_FILE", str(tmp_path / "password"))
    settings = load_settings()
    database, broker = make_url(settings.database_url), parse_url(settings.broker_url)
    assert (database.username, database.password, database.port) == ("nnlite", password, 5432)
    assert (broker["password"], broker["host"], broker.get("username")) == (password, "host", None)


@pytest.mark.parametrize(
    ("content", "url", "message"),
    [
        (None, "redis://host/0", "NNLITE_BROKER_PASSWORD_FILE=.*/password: No such file or directory; name"),
        ("", "redis://host/0", "NNLITE_BROKER_PASSWORD_FILE=.*/password is empty; write"),
        ("A=b\nC=d\n", "redis://host/0", "NNLITE_BROKER_PASSWORD_FILE=.*/password has 2 lines; write"),
        ("secret", "redis://:hush@host/0", "NNLITE_BROKER_URL has a password and .*/password brings another"),
        ("secret", "", "NNLITE_BROKER_PASSWORD_FILE=.*/password opens no server; set NNLITE_BROKER_URL"),
        ("secret", "redis://[host/0", "NNLITE_BROKER_URL is not a URL"),
    ],
)
def test_an_unusable_password_file_is_reported_in_one_line(monkeypatch, tmp_path, content, url, message):
    if content is not None:
        (tmp_path / "password").write_text(content)
    monkeypatch.setenv("NNLITE_BROKER_URL", url)
    monkeypatch.setenv("NNLITE_BROKER_PASSWORD_FILE", str(tmp_path / "password"))
    with pytest.raises(SettingsError, match=f"^{message}") as refused:
        load_settings()
    assert "\n" not in str(refused.value)
    assert not {"secret", "hush"} & set(str(refused.value).split())


def test_the_deadline_of_an_attempt_exceeds_its_own_limits(monkeypatch):
    monkeypatch.setenv("NNLITE_CONVERSION__ABSOLUTE_TIMEOUT_S", "4000")
    settings = load_settings()
    assert settings.conversion_deadline_s > 4000
    slowest = settings.measurement.initialize_timeout_s + settings.measurement.few_runs_max_s
    assert settings.benchmark_deadline_s > slowest


@pytest.mark.parametrize(
    "limit", ["PHONE__COOL_S", "ANDROID__APP_START_TIMEOUT_S", "MEASUREMENT__INITIALIZE_TIMEOUT_S"]
)
@pytest.mark.parametrize(("warm_init", "initializations"), [(False, 0), (True, 4)])
def test_the_deadline_of_a_measurement_has_the_start_of_each_of_its_runs(
    monkeypatch, limit, warm_init, initializations
):
    monkeypatch.setenv("NNLITE_MEASUREMENT__WARM_INIT", str(warm_init))
    monkeypatch.setenv("NNLITE_ANDROID__FRONT_TRIES", "3")
    monkeypatch.setenv(f"NNLITE_{limit}", "100")
    before_s = load_settings().measurement_deadline_s
    monkeypatch.setenv(f"NNLITE_{limit}", "101")
    # Three canaries and two runs, while the window is not in front; a host's profile initializes once more.
    starts = 3 * 5 + initializations + (limit == "MEASUREMENT__INITIALIZE_TIMEOUT_S")
    assert load_settings().measurement_deadline_s - before_s == starts


def test_the_default_visibility_timeout_suffices_for_nine_numbers_of_threads():
    settings = load_settings()
    further_s = 8 * settings.further_deadline_s(WorkKind.BENCHMARK)
    assert settings.queue.visibility_timeout_s > settings.benchmark_deadline_s + further_s


def test_a_mode_has_its_own_bounds_and_standard_those_that_are_set():
    settings = MeasurementSettings(min_runs=20, max_s=30, few_runs_max_s=40, threads=3)
    names = ("min_runs", "min_s", "max_s", "warmup_max_s")
    bounds = {mode: tuple(getattr(settings.in_mode(mode), name) for name in names) for mode in Mode}
    assert bounds == {
        Mode.QUICK: (64, 0, 1, 1), Mode.STANDARD: (20, 2, 30, 10), Mode.FULL: (1024, 60, 180, 10)
    }  # fmt: skip
    assert settings.in_mode(Mode.FULL).threads == 3
    assert Settings(measurement=settings, _env_file=None).benchmark_deadline_s > 2 * 180


def test_settings_are_read_only():
    with pytest.raises(ValueError, match="frozen"):
        Settings(_env_file=None).log_level = "DEBUG"


def test_a_visibility_timeout_has_room_for_the_evaluation_of_a_conversion(monkeypatch):
    monkeypatch.setenv("NNLITE_CONVERSION__ABSOLUTE_TIMEOUT_S", "40000")
    monkeypatch.setenv("NNLITE_QUEUE__VISIBILITY_TIMEOUT_S", "80240")  # twice 40,000 s and 120 s
    with pytest.raises(SettingsError, match="longest deadline, 80240 s"):
        load_settings()
    monkeypatch.setenv("NNLITE_QUEUE__VISIBILITY_TIMEOUT_S", "80241")
    load_settings()


def test_a_visibility_timeout_below_the_longest_deadline_is_refused(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNLITE_QUEUE__VISIBILITY_TIMEOUT_S", "60")
    with pytest.raises(SettingsError, match=r"^NNLITE_QUEUE__VISIBILITY_TIMEOUT_S=60 must be above"):
        load_settings()


@pytest.mark.parametrize("name", [name for name in all_settings() if "__" in name])
def test_a_setting_of_a_group_says_what_it_means(name):
    group, _, field = name.removeprefix("NNLITE_").lower().partition("__")
    described = type(getattr(Settings(_env_file=None), group)).model_fields[field].description
    assert described and described.strip() == described
