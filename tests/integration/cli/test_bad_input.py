"""Whatever is wrong is reported in a line on stderr, with the thing and a remedy; nothing is half done.

More than 300 lines: one mistake after the other, each with the line that it is answered with.
"""

import subprocess
from contextlib import closing

import numpy as np
import psycopg2
import pytest
from redis import Redis

from waiting import HANG_S

NOWHERE = "postgresql://somebody:secret@127.0.0.1:1/nnlite"


def query(database_url: str, statement: str) -> list[tuple]:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


@pytest.fixture
def nothing_written(database_url, broker_url):
    """After the test: no row of a campaign, no message."""
    yield
    for table in ("campaign", "conversion", "model", "code"):
        assert query(database_url, f"SELECT count(*) FROM {table}") == [(0,)]
    with closing(Redis.from_url(broker_url)) as redis:
        assert redis.dbsize() == 0


@pytest.mark.usefixtures("servers", "nothing_written")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["submit", "RestNet"], "error: unknown model RestNet; did you mean ResNet?"),
        (["submit", "--match", "zz-*"], "'zz-*'; `nnlite models` lists them"),
        (["submit", "ResNet", "DarkNet", "--limit", "1"], "error: limit 1 is below the 2 models named"),
        (["submit", "--transform", "nothing"], "nothing"),
        (["status", "nigth"], "error: no campaign is named 'nigth'; there is none yet; `nnlite submit`"),
        (["results", "nigth"], "error: no campaign is named 'nigth'"),
        (["failures", "nigth"], "error: no campaign is named 'nigth'"),
        (["profile", "nigth"], "error: no campaign is named 'nigth'"),
        (["export", "model-explorer", "out", "--campaign", "nigth"], "error: no campaign is named 'nigth'"),
        (["watch", "nigth"], "error: no campaign is named 'nigth'"),
        (["pause", "nigth"], "error: no campaign is named 'nigth'"),
        (["resume", "nigth"], "error: no campaign is named 'nigth'"),
        (["cancel", "nigth"], "error: no campaign is named 'nigth'"),
        (["retry", "nigth"], "error: no campaign is named 'nigth'"),
    ],
)
def test_invalid_requests_are_refused(nnlite, arguments, says):
    said = nnlite(*arguments)
    assert (said.code, said.out) == (1, "")
    assert says in said.err and said.err.startswith("error: ")
    assert "Traceback" not in said.err


@pytest.mark.usefixtures("servers", "nothing_written")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["submit", "ResNet", "--backend", "tpu"], "error: --backend 'tpu' is none of cpu, gpu, npu"),
        (["submit", "ResNet", "--priority", "12"], "error: priority 12 is not within 0-9"),
        (["submit", "--source", "lemming"], "error: unknown source lemming; known: "),
        (["submit", "--input", "1x3x8x8"], "error: source lemur has no option input; omit --input"),
        (
            ["submit", "ResNet", "--precision", "int4"],
            "--precision 'int4' is none of fp32, fp16, dynamic, int8, mixed",
        ),
        (
            ["submit", "ResNet", "--precision", "int8", "--calibration", "photos"],
            "data photos does not exist",
        ),
        (["submit", "ResNet", "--calibration", "noise"], "--calibration is for other precisions than fp32"),
        (["submit", "ResNet", "--backend", "cpu,npu"], "--backend npu: no machine has it, and pool host is"),
        (
            ["run", "ResNet", "--backend", "gpu", "--dry-run"],
            "of cpu, cpu-plain, tflite-app, onnxruntime, executorch,",
        ),
        (
            ["submit", "ResNet", "--backend", "executorch", "--precision", "fp32,int8"],
            "executes no .tflite files, needed for --precision int8; add --backend cpu",
        ),
        (["submit"], "all 5 of lemur are taken: conversion about "),
        (["submit", "--dataset", "cifar-10"], "Take all? Nobody is here to answer; add --yes"),
        (["submit", "ResNet", "--threads", "two"], "--threads 'two' is no number of threads"),
        (["results", "--verdict", "good"], "--verdict 'good' is none of valid, noisy, throttled, invalid"),
        (
            ["results", "--format", "reports", "--top", "3"],
            "leave --verdict, --precision, --pool, --sort, --top",
        ),
        (["results", "--json", "--columns", "model"], "--columns is for tables"),
        (["export", "lemur", "out", "--verdict", "good"], "--verdict 'good' is none of valid, noisy"),
        (["worker", "benchmark", "--device", "phone"], "--device phone: no such device"),
        (["check", "--postgres", "/data"], "--postgres /data has no version"),
        (["retry", "night", "--noisy", "--failed"], "--noisy measures results again"),
    ],
)
def test_wrong_usage_is_said_with_exit_code_2(nnlite, arguments, says):
    said = nnlite(*arguments)
    assert (said.code, said.out) == (2, "")
    assert says in said.err and said.err.startswith("error: ")
    assert "Traceback" not in said.err


@pytest.mark.usefixtures("servers", "nothing_written")
def test_calibration_data_with_nan_are_refused_at_submit(nnlite, tmp_path):
    images = np.zeros((4, 3, 8, 8), np.float32)
    images[1, 0, 0, 0] = np.nan
    np.save(tmp_path / "x.npy", images)
    said = nnlite("submit", "ResNet", "--precision", "int8", "--calibration", str(tmp_path / "x.npy"))
    assert said.code == 2 and "has NaN or infinite values, the first in sample 1; remove them" in said.err


@pytest.mark.usefixtures("servers", "nothing_written")
@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", "--limit", "0"],
        ["submit", "--limit", "some"],
        ["submit", "--no-such-option"],
        ["submit", "--priority", "high"],
        ["results", "--format", "xml"],
        ["run", "--converters", "0"],
        ["worker", "convert", "--concurrency", "0"],
        ["status", "one", "two"],
        ["nonsense"],
    ],
)
def test_wrong_usage_is_code_2(nnlite, arguments):
    said = nnlite(*arguments)
    assert (said.code, said.out) == (2, "")
    assert "Usage: " in said.err and "Traceback" not in said.err


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        (
            "NNLITE_QUEUE__LEAS_S",
            "1",
            "NNLITE_QUEUE__LEAS_S; did you mean NNLITE_QUEUE__LEASE_S?",
        ),
        ("NNLITE_QUEUE__LEASE_S", "soon", "NNLITE_QUEUE__LEASE_S='soon': "),
        ("NNLITE_DATABASE_URL", "mysql://there", "NNLITE_DATABASE_URL is of mysql; nnlite needs Postgres"),
        ("NNLITE_DATABASE_URL", "postgresql://h:port/x", "NNLITE_DATABASE_URL is not a URL; write "),
        ("NNLITE_BROKER_URL", "localhost:6379", "NNLITE_BROKER_URL: Redis URL must specify "),
    ],
)
@pytest.mark.usefixtures("servers")
def test_every_command_reports_an_invalid_setting(nnlite, environment, variable, value, says):
    environment.setenv(variable, value)
    listings = [] if variable == "NNLITE_BROKER_URL" else [["status"]]  # they do not use it
    for arguments in (*listings, ["submit", "ResNet"], ["watch", "night"]):
        said = nnlite(*arguments)
        assert said.code == 1
        assert says in said.err.splitlines()[0]
        assert len(said.err.splitlines()) == 1


def test_a_worker_reports_an_invalid_setting_before_exec(nnlite, environment):
    environment.setenv("NNLITE_CONVERSION__THREADS", "0")
    for worker in ("convert", "benchmark"):
        said = nnlite("worker", worker)
        assert said.code == 1 and "NNLITE_CONVERSION__THREADS='0'" in said.err


def test_commands_report_a_database_that_is_not_migrated(nnlite, environment, bare_database_url, broker_url):
    environment.setenv("NNLITE_DATABASE_URL", bare_database_url)
    environment.setenv("NNLITE_BROKER_URL", broker_url)
    for arguments in (["submit", "ResNet"], ["status"]):
        said = nnlite(*arguments)
        assert said.code == 1
        assert said.err.startswith("error: the database postgresql://")
        assert said.err.endswith("is not migrated; run `nnlite db upgrade`\n")
    password = bare_database_url.split(":")[2].split("@")[0]
    assert password not in said.err
    assert nnlite("db", "upgrade").code == 0
    assert nnlite("status", "--json").rows == []


def test_without_the_database_nothing_is_submitted(nnlite, environment, broker_url):
    environment.setenv("NNLITE_DATABASE_URL", NOWHERE)
    environment.setenv("NNLITE_BROKER_URL", broker_url)
    said = nnlite("submit", "ResNet")
    assert said.code == 1
    assert "error: Postgres at postgresql://somebody:***@127.0.0.1:1/nnlite cannot be reached" in said.err
    assert "secret" not in said.err
    with closing(Redis.from_url(broker_url)) as redis:
        assert redis.dbsize() == 0


@pytest.mark.parametrize("command", ["run", "submit"])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--weights", "gone"], "gone"),
        (["--prebuilt", "gone"], "gone"),
        (["--source", "files", "--path", "gone.py"], "gone.py"),
        (["--source", "nngpt", "--path", "gone"], "gone is not a folder"),
        (["--source", "gone"], "unknown source gone"),
        (["--precision", "int8", "--calibration", "gone"], "data gone does not exist"),
        (["--weights", ".", "--evaluate", "gone"], "gone"),
        (["ResNet", "--name", ""], "a campaign's name has 1 to 200 characters"),
        (["ResNet", "--backend", "npu"], "--backend npu: no machine has it"),
        (["ResNett"], "unknown model ResNett"),
    ],
)
def test_local_arguments_are_checked_before_servers(nnlite, environment, command, arguments, says):
    environment.setenv("NNLITE_DATABASE_URL", NOWHERE)
    environment.setenv("NNLITE_BROKER_URL", "redis://127.0.0.1:1/0")
    said = nnlite(command, *arguments)
    assert said.code in {1, 2}
    assert says in said.err and "Postgres" not in said.err and "Traceback" not in said.err


def test_submit_without_the_broker_reports_when_work_starts(nnlite, environment, database_url):
    environment.setenv("NNLITE_DATABASE_URL", database_url)
    environment.setenv("NNLITE_BROKER_URL", "redis://127.0.0.1:1/0")
    said = nnlite("submit", "ResNet", "DarkNet", "--name", "night")
    assert (said.code, said.out) == (0, "")
    assert "submitted campaign night: 2 models" in said.err
    assert "the broker is away; work starts when the broker is back" in said.err
    assert query(database_url, "SELECT state, count(*) FROM conversion GROUP BY 1") == [("queued", 2)]
    nnlite("pause", "night")
    resumed = nnlite("resume", "night")
    assert (resumed.code, "work starts when the broker is back" in resumed.err) == (0, True)


@pytest.mark.usefixtures("servers")
def test_one_name_for_two_requests_is_refused_with_the_difference(nnlite, database_url):
    assert nnlite("submit", "ResNet", "--name", "night").code == 0
    said = nnlite("submit", "DarkNet", "--name", "night")
    assert said.code == 1
    assert said.err == (
        "error: campaign 'night' was submitted with the models ResNet; this request is with the models "
        "DarkNet; "
        "choose another --name, or repeat the first request to resume it\n"
    )
    assert query(database_url, "SELECT count(*) FROM conversion") == [(1,)]
    assert "resumed campaign night: 1 model" in nnlite("submit", "ResNet", "--name", "night").err


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--limit", "1"], ["up"], ["down"], ["submit", "ResNet"], ["doctor"], ["status"], ["results"],
        ["ps"], ["logs"],
    ],
)  # fmt: skip
def test_a_home_below_a_file_is_said_without_a_traceback(nnlite, environment, tmp_path, command):
    (tmp_path / "file").write_text("")
    environment.setenv("NNLITE_HOME", str(tmp_path / "file" / "home"))
    said = nnlite(*command)
    assert said.code == 1
    assert f"{tmp_path / 'file'} is a file" in (said.err + said.out).replace("\n", "")


@pytest.mark.usefixtures("servers")
def test_commands_report_an_unknown_campaign_and_list_known_ones(nnlite):
    nnlite("submit", "ResNet", "--name", "night")
    assert nnlite("watch", "nigth").err == "error: no campaign is named 'nigth'; did you mean night?\n"
    assert nnlite("watch", "day").err == "error: no campaign is named 'day'; the newest are night\n"


@pytest.mark.usefixtures("released")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["results", "--model", "Unet2D"],
            "no model of any campaign is named 'Unet2D'; did you mean UNet2D?",
        ),
        (["results", "done", "--model", "Nobody"], "no model of campaign done is named 'Nobody'"),
        (["results", "--pool", "phone"], "no pool 'phone'"),
        (["profile", "--model", "Nobody"], "no model of any campaign is named 'Nobody'"),
        (["sustained", "--model", "Nobody"], "no model of any campaign is named 'Nobody'"),
        (
            ["export", "model-explorer", "out", "--model", "Nobody"],
            "no model of any campaign is named 'Nobody'",
        ),
        (["export", "model-explorer", "out", "--model", "No*"], "no model of any campaign matches 'No*'"),
        (
            ["export", "lemur", "out", "--campaign", "don"],
            "no campaign 'don' has results to export; did you mean",
        ),
        (["describe", "generatoin"], "no campaign is named 'generatoin'; did you mean generation?"),
        (["failures", "generatoin"], "did you mean generation?"),
        (["effects", "generatoin"], "did you mean generation?"),
        (["rank", "generatoin"], "did you mean generation?"),
        (["verify", "generatoin"], "did you mean generation?"),
        (["cancel", "generatoin"], "did you mean generation?"),
        (["delete", "generatoin"], "did you mean generation?"),
        (["reproduce", "Unet2D"], "no model of any campaign is named 'Unet2D'; did you mean UNet2D?"),
        (["reproduce", "123456"], "'123456' is neither a campaign nor the id"),
        (["devices", "release", "host-lib"], "no device 'host-lib'; did you mean host-lab?"),
        (["retry", "done", "Nobody"], "campaign 'done' has no model 'Nobody'"),
        (["devices", "incidents", "host-lib"], "no device 'host-lib'; did you mean host-lab?"),
        (["atlas", "con2d"], "no operator 'con2d' was tried or converted; did you mean "),
        (["models", "RestNet"], "unknown model RestNet; did you mean ResNet?"),
        (["models", "ga-*", "RestNet", "--json"], "unknown model RestNet"),
        (["preflight", "RestNet"], "unknown model RestNet; did you mean ResNet?"),
        (["explain-parity", "RestNet"], "unknown model RestNet; did you mean ResNet?"),
    ],
)
def test_a_name_that_nothing_has_is_an_error_with_close_ones(nnlite, arguments, says):
    said = nnlite(*arguments)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: ") and says in said.err


@pytest.mark.usefixtures("released")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["results", "done", "--model", "No*"], "no model of campaign done matches 'No*'"),
        (["profile", "--model", "No*"], "no model of any campaign matches 'No*'"),
        (["sustained", "--model", "No*"], "no model of any campaign matches 'No*'"),
        (["atlas", "nothing*"], "no operator like this was tried or converted"),
        (["models", "zz-*"], "names matches 'zz-*'"),
    ],
)
def test_a_pattern_that_matches_nothing_is_a_message(nnlite, arguments, says):
    said = nnlite(*arguments)
    assert (said.code, said.out) == (0, "")
    assert says in said.err
    assert nnlite(*arguments, "--json").rows == []


def test_a_missing_lemur_is_reported(nnlite, environment, tmp_path):
    environment.setenv("NNLITE_LEMUR", str(tmp_path / "nothing"))
    environment.setenv("NNLITE_DATABASE_URL", NOWHERE)
    said = nnlite("models")
    assert said.code == 1 and str(tmp_path / "nothing") in said.err


@pytest.mark.usefixtures("servers")
def test_the_program_itself_ends_like_that(start):
    process: subprocess.Popen[str] = start("status", "nigth")
    out, err = process.communicate(timeout=HANG_S)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("error: no campaign is named 'nigth'") and err.count("\n") == 1


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (None, [], "error: Flower needs a password: write one into a file and name it with --password-file"),
        (None, ["--password-file", "gone"], "error: --password-file gone: No such file or directory; name"),
        ("\n", ["--password-file", "password"], "error: --password-file password is empty; write the"),
        ("grün", ["--password-file", "password"], "error: --password-file password: Flower compares ASCII"),
        ("x", ["--password-file", "password", "--state", "/proc/x/y"], "error: --state /proc/x/y: No such"),
    ],
)
def test_flower_does_not_start_without_a_password(nnlite, tmp_path, content, options, says):
    if content is not None:
        (tmp_path / "password").write_text(content)
    said = nnlite("flower", *options)
    assert (said.code, said.out) == (1 if options else 2, "")
    assert said.err.startswith(says) and said.err.count("\n") == 1
