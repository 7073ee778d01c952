"""What would keep a cluster from starting is reported in a line each, with a remedy; nothing is changed."""

import os
import sys
from pathlib import Path

import pytest

from nnlite.cli import main
from nnlite.diagnostics import preflight
from nnlite.diagnostics.preflight import kvm_problem

#: An account that owns nothing here.
STRANGER = 12345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="judging for another account needs root")


@pytest.fixture
def check(monkeypatch, capfd, tmp_path):
    """Run `nnlite check` in an empty folder, and return what it complains about."""
    for name in os.environ:
        if name.startswith("NNLITE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["nnlite", "check", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert out == ""
        if ended.value.code == 0:
            assert err == "ok: no problems found\n"
            return []
        assert ended.value.code == (2 if "; write --" in err else 1)
        assert all(line.startswith("error: ") for line in err.splitlines())
        return [line.removeprefix("error: ") for line in err.splitlines()]

    return run


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that another account can reach."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    folder = tmp_path / "volume"
    folder.mkdir(mode=0o755)
    return folder


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_mode) for path in folder.rglob("*")}


def test_a_correct_configuration_has_no_problems(check, tmp_path):
    (tmp_path / "password").write_text("a long password\n")
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg" / "PG_VERSION").write_text("17\n")
    before = snapshot(tmp_path)
    assert not check(
        "--secret", "password", "--folder", tmp_path, "--disk", tmp_path, "--min-free-gb", "0.001",
        "--postgres", "pg:17", "--profiles", "gpu", "--known-profiles", "gpu,emulator",
    )  # fmt: skip
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "LAB_PASSWORD (secret): No such file or directory; name a file that this account may read"),
        ("", "LAB_PASSWORD (secret) is empty; write the password into it"),
        (
            "short",
            "LAB_PASSWORD (secret) has 5 characters, at least 12 are needed; write a password",
        ),
        ("change-me-please", "LAB_PASSWORD (secret) is still the example's; write a password of your own"),
    ],
)
def test_an_unusable_secret_is_reported(check, tmp_path, content, message):
    if content is not None:
        (tmp_path / "secret").write_text(content)
    (line,) = check("--secret", "LAB_PASSWORD=secret", "--example", "change-me-please")
    assert line.startswith(message)
    assert not content or content not in line.split()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("NNLITE_CONVERSION__CORES", "0", "NNLITE_CONVERSION__CORES=0 needs NNLITE_MEASUREMENT__CORES"),
        ("NNLITE_LOG_LEVEL", "loud", "NNLITE_LOG_LEVEL=loud: not a level; write DEBUG"),
    ],
)
def test_a_setting_that_would_stop_every_worker_is_reported(check, monkeypatch, variable, value, message):
    monkeypatch.setenv(variable, value)
    (line,) = check()
    assert line.startswith(message)


@needs_root
def test_access_is_checked_for_the_account_that_needs_it(check, open_folder):
    secret, data = open_folder / "secret", open_folder / "data"
    secret.write_text("a long password")
    secret.chmod(0o600)
    data.mkdir()
    lines = check("--uid", STRANGER, "--secret", secret, "--folder", data)
    assert lines == [
        f"{secret}: Permission denied; name a file that this account may read",
        f"{data} is closed to account {STRANGER}; give it all that is there: "
        f"chown -R {STRANGER}:{STRANGER} {data}",
    ]
    assert os.geteuid() == 0
    os.chown(data, STRANGER, STRANGER)
    assert not check("--uid", STRANGER, "--folder", data)
    assert not check("--folder", f"{data}:{STRANGER}")


@needs_root
def test_a_volume_with_files_of_another_account_is_reported(check, open_folder):
    os.chown(open_folder, STRANGER, STRANGER)
    (open_folder / "appendonly.aof").write_text("")
    (line,) = check("--folder", f"{open_folder}:{STRANGER}")
    assert line.startswith(
        f"{open_folder}/appendonly.aof belongs to account 0 and is closed to account {STRANGER}"
    )


def test_unmounted_and_full_volumes_are_reported(check, tmp_path):
    assert check("--folder", "gone", "--disk", "gone", "--postgres", "gone:17") == [
        "gone is no folder; mount the volume there",
        "gone: No such file or directory; mount the volume there",
        "gone: No such file or directory; mount the volume of Postgres and check as root",
    ]
    (line,) = check("--disk", tmp_path, "--min-free-gb", "1e9")
    assert "GB free, 1e+09 GB are needed; make room" in line


@pytest.mark.parametrize("folder", ["", "18/docker/"])
def test_data_of_another_postgres_version_is_reported(check, tmp_path, folder):
    assert not check("--postgres", f"{tmp_path}:17"), "an empty volume is a fresh one"
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "PG_VERSION").write_text("16\n")
    (line,) = check("--postgres", f"{tmp_path}:17")
    assert line.startswith(
        f"{tmp_path} has data of Postgres 16, this is Postgres 17: dump it with the version"
    )
    assert not check("--postgres", f"{tmp_path}:16")


def test_an_unknown_profile_is_reported(check):
    lines = check("--profiles", "gpus, printer", "--known-profiles", "emulator,gpu,phone")
    assert lines == [
        "COMPOSE_PROFILES has an unknown profile gpus; did you mean gpu?",
        "COMPOSE_PROFILES has an unknown profile printer; there are emulator, gpu, phone",
    ]


def test_emulators_need_kvm_and_others_do_not(check):
    assert not check("--profiles", "gpu", "--kvm", "/dev/gone")
    (line,) = check("--profiles", "gpu,emulator", "--kvm", "/dev/gone")
    assert line.startswith("profile emulator: there is no /dev/gone: switch virtualization on")
    assert line.endswith("or leave the profile out")


@needs_root
def test_kvm_of_another_group_is_reported(open_folder):
    device = open_folder / "kvm"
    device.touch()
    device.chmod(0o660)
    os.chown(device, 0, 108)
    with preflight.judging_for(STRANGER):
        problem = kvm_problem(device)
    assert (
        problem
        == f"{device} (mode 0660, group 108) is closed to account {STRANGER}; let it have group 108 as well"
    )


def test_a_device_that_cannot_create_a_virtual_machine_is_reported():
    problem = kvm_problem(Path("/dev/null"))
    assert problem is not None
    assert problem.startswith("/dev/null makes no virtual machine (Inappropriate ioctl for device); run on")


def test_an_invalid_setting_is_one_of_the_lines(check, monkeypatch):
    monkeypatch.setenv("NNLITE_BROKER_PASSWORD_FILE", "/gone")
    monkeypatch.setenv("NNLITE_BROKER_URL", "redis://redis/0")
    lines = check("--disk", "gone")
    assert [line.split(":")[0] for line in lines] == ["NNLITE_BROKER_PASSWORD_FILE=/gone", "gone"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folder", "x:postgres"], "x:postgres: postgres is not a number; write --folder FOLDER[:UID]"),
        (["--postgres", "x"], "--postgres x has no version; write --postgres FOLDER:MAJOR"),
    ],
)
def test_invalid_options_are_reported(check, arguments, message):
    assert check(*arguments) == [message]
