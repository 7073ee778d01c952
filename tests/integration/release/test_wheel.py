"""The wheel has everything that the command needs, and works in an environment of its own."""

import email
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import wheelhouse
from conftest import temporary_home
from nnlite.db.engine import check_schema, engine_for
from waiting import HANG_S

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[3]


def run(*command, **options):
    ended = subprocess.run(
        list(map(str, command)), text=True, capture_output=True, timeout=HANG_S, check=False, **options
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout; `make wheel` lets uv build the same."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=CHECKOUT)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A virtual environment with the wheel alone, which finds its libraries in that of the tests."""
    folder = tmp_path_factory.mktemp("wheel") / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    run(Path(sys.executable).with_name("uv"), "pip", "install", "--offline", "--no-deps",
        "--python", folder / "bin/python", wheel)  # fmt: skip
    (own,) = {path for path in sys.path if path.endswith("site-packages") and sys.prefix in path}
    (packages / "libraries_of_the_tests.pth").write_text(own + "\n")
    return folder


def test_the_wheel_has_every_file_of_the_packages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    places = {"services/nnlite": "nnlite", "migrations": "nnlite/migrations"}
    places |= {f"workers/{name}": name for name in ("nnlite_conversion", "nnlite_benchmark")}
    tracked = run("git", "ls-files", "-z", *places, cwd=CHECKOUT).split("\0")
    expected = {
        file.replace(source, target, 1)
        for source, target in places.items()
        for file in tracked
        if file.startswith(f"{source}/") and (CHECKOUT / file).is_file()
    }
    assert expected <= inside
    assert {name.split("/")[0] for name in inside} == {"nnlite", "nnlite_conversion", "nnlite_benchmark"}


def test_the_metadata_name_developers_extras_and_pythons(metadata):
    assert metadata["Author"] == "the nnlite developers"
    extras = {"all", "convert", "host", "benchmark", "executorch", "local", "onnx", "s3"}
    assert extras <= set(metadata.get_all("Provides-Extra"))
    assert metadata.get_all("Project-URL")
    named = {line.rpartition(" ")[2] for line in metadata.get_all("Classifier") if "Python :: 3." in line}
    assert named == {"3.11", "3.12", "3.13"}


def test_all_is_every_extra_of_a_user(metadata):
    required = metadata.get_all("Requires-Dist")
    by_extra = {
        extra: {line.partition(";")[0] for line in required if f"extra == '{extra}'" in line}
        for extra in metadata.get_all("Provides-Extra")
    }
    users = by_extra.keys() - {"all", "dev"}
    assert by_extra["all"] == set().union(*(by_extra[extra] for extra in users))


def test_the_installed_command_runs_outside_of_the_checkout(environment, tmp_path):
    program, home = environment / "bin/nnlite", {"NNLITE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    assert "submit" in run(program, "--help", cwd=tmp_path, env=home)
    assert "NNLITE_HOME" in run(program, "doctor", "--settings", cwd=tmp_path, env=home)


def test_the_installed_packages_are_those_of_the_wheel(environment, wheel, tmp_path):
    script = """
import importlib.metadata, nnlite, nnlite_benchmark, nnlite_conversion
from nnlite.host.installation import install_hint
for package in (nnlite, nnlite_benchmark, nnlite_conversion):
    print(package.__path__[0])
print(*sorted(point.name for point in importlib.metadata.entry_points(group="nnlite.sources")))
print(install_hint("convert"))
"""
    shown = run(environment / "bin/python", "-I", "-c", script, cwd=tmp_path, env={}).splitlines()
    assert all(line.startswith(str(environment)) for line in shown[:3])
    assert shown[3] == "files lemur nngpt"
    assert shown[4].endswith(f"'{wheel}[convert]'")


def test_the_installed_command_makes_the_schema(environment, bare_database_url, broker_url, tmp_path):
    settings = {"NNLITE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    settings |= {"NNLITE_DATABASE_URL": bare_database_url, "NNLITE_BROKER_URL": broker_url}
    run(environment / "bin/nnlite", "db", "upgrade", cwd=tmp_path, env=settings)
    engine = engine_for(bare_database_url)
    check_schema(engine)
    engine.dispose()


@pytest.fixture(scope="module")
def public(wheel, metadata) -> Iterator[Path]:
    """A folder that all accounts may read: uv, the wheel, and in `wheels` what `wheel[local]` needs.

    In `hollow` is what its other extras need that are installed here, as metadata alone.
    """
    with removed_at_the_end() as folder:
        shutil.copy(wheel, folder)
        for extras, name in ((["local"], "wheels"), (INSTALLED, "hollow")):
            (folder / name).mkdir()
            wheelhouse.fill(folder / name, *wanted(metadata, *extras), hollow=name == "hollow")
        for file in (folder / "wheels").iterdir():
            (folder / "hollow" / file.name).unlink()
        shutil.copy(Path(sys.executable).with_name("uv"), folder)
        yield folder


#: Extras of the environment of the tests: all but `s3`.
INSTALLED = ("convert", "host", "onnx", "executorch", "benchmark", "local")


def wanted(metadata, *extras: str) -> list[str]:
    """Return what the wheel with extras requires, such as `celery[redis]`."""
    required = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    return [
        f"{each.name}[{','.join(each.extras)}]"
        for each in required
        if not each.marker or any(each.marker.evaluate({"extra": extra}) for extra in extras)
    ]


@dataclass(frozen=True)
class Person:
    """An account with a home of its own, which runs programs as it would: with none of our environment."""

    home: Path
    uid: int

    def run(self, *command) -> str:
        account = {"user": self.uid, "group": self.uid, "extra_groups": []} if os.geteuid() == 0 else {}
        environment = {"HOME": str(self.home), "NNLITE_HOME": str(self.home / "data"), "PATH": os.defpath}
        return run(*command, cwd=self.home, env=environment, **account)


@contextmanager
def removed_at_the_end() -> Iterator[Path]:
    folder = temporary_home()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def user() -> Iterator[Person]:
    with removed_at_the_end() as home:
        uid = os.geteuid() or NOBODY
        os.chown(home, uid, uid)
        yield Person(home, uid)


@pytest.fixture
def root() -> Iterator[Person]:
    if os.geteuid() != 0:
        pytest.skip("only root can be root")
    with removed_at_the_end() as home:
        yield Person(home, 0)


NOBODY = 65534
#: The Python that environments are made of, which every account may run.
PYTHON = Path(sys.base_prefix, "bin", "python3")


def check_that_it_works(person: Person, program: Path) -> None:
    """The installed command has its servers, makes a database as its account, and reads it."""
    assert person.run(program, "--version").startswith("nnlite 0.")
    person.run(program, "db", "upgrade")
    assert person.run(program, "db", "psql", "-Atc", "SELECT count(*) FROM campaign_progress").strip() == "0"
    assert person.run(program, "status", "--json").strip() == "[]"


@pytest.mark.parametrize("account", ["root", "user"])
def test_pip_installs_the_wheel_with_all_that_its_extras_need(account, request, public, wheel, metadata):
    person = request.getfixturevalue(account)
    # Which versions pip chooses is the same for all accounts, and takes most of the time: root's has all.
    extras = ("local",) if os.geteuid() == 0 and account == "user" else INSTALLED
    person.run(PYTHON, "-m", "venv", "nnlite")
    python = person.home / "nnlite" / "bin" / "python"
    person.run(python, "-m", "pip", "--isolated", "install", "--no-index", "--no-compile",
               "--find-links", public / "wheels", "--find-links", public / "hollow",
               f"{public / wheel.name}[{','.join(extras)}]")  # fmt: skip
    assert "No broken requirements" in person.run(python, "-m", "pip", "check")
    listed = json.loads(person.run(python, "-m", "pip", "list", "--format", "json"))
    installed = {canonicalize_name(each["name"]) for each in listed}
    assert {canonicalize_name(Requirement(each).name) for each in wanted(metadata, *extras)} <= installed
    check_that_it_works(person, python.with_name("nnlite"))


def test_uv_installs_the_wheel_as_a_tool(user, public, wheel):
    user.run(public / "uv", "tool", "install", "--no-config", "--offline", "--no-index", "--python", PYTHON,
             "--find-links", public / "wheels", f"{public / wheel.name}[local]")  # fmt: skip
    check_that_it_works(user, user.home / ".local" / "bin" / "nnlite")
