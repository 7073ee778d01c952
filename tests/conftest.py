"""What every test may use: one pair of embedded servers for the whole run, and databases in it."""

import gc
import itertools
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import hypothesis
import psycopg2
import pytest
import redis
import structlog

from nnlite.local import Endpoints, servers
from nnlite.settings import Settings
from nnlite.settings.groups import LocalSettings
from tiers import pytest_collection_modifyitems, pytest_ignore_collect, pytest_runtest_protocol

__all__ = ("pytest_collection_modifyitems", "pytest_ignore_collect", "pytest_runtest_protocol")
from waiting import HANG_S

# What a shell that is not interactive runs in the background ignores Ctrl-C, and so does all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Until all tests are imported: it would take a sixth of that time, and find nothing.
gc.disable()

# Before anything imports numpy: its threads would hang the forks of tests that convert.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

# How long an example takes is the machine's matter.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

#: The numbered databases of the embedded broker that tests take turns with; 0 is nobody's.
_BROKER_DATABASES = range(1, 16)


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but for what was imported, which stays."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Undo what a command that ran in this process did to the logs: it wrote to a stream that is closed."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)
    for name in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture
def make_home() -> Iterator[Callable[[], Path]]:
    """Make homes for embedded servers; each is removed after the test.

    Not below `tmp_path`: root's has mode 0700, and the servers' account could not enter it.
    """
    homes: list[Path] = []

    def make() -> Path:
        homes.append(temporary_home())
        return homes[-1]

    yield make
    for home in homes:
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def embedded() -> Iterator[Endpoints]:
    """The embedded servers of this test run; they do not survive a power cut, and are faster for it."""
    home = temporary_home()
    (home / "postgres").mkdir()
    # A password that lives as long as this needs no iterations, which take 2 ms of each connection.
    settings = "fsync = off\nfull_page_writes = off\nscram_iterations = 1\n"
    (home / "postgres" / "custom.conf").write_text(settings)
    with servers(embedded_settings(home)) as endpoints:
        yield endpoints
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def execute(embedded: Endpoints) -> Iterator[Callable[[str], None]]:
    """Run a statement of the embedded Postgres, on one connection: a new one takes as long as a database."""
    with closing(psycopg2.connect(embedded.database_url)) as connection:
        connection.autocommit = True
        yield connection.cursor().execute


@pytest.fixture(scope="session")
def make_database(embedded: Endpoints, execute: Callable[[str], None]) -> Callable[..., str]:
    """Make a database of its own name and return its URL: `make_database()`, `make_database(migrated=False)`.

    They go with the test run; for databases of modules or sessions.
    """
    numbers = itertools.count(1)
    template: list[str] = []

    def create(name: str, source: str) -> str:
        # As files: written block by block to the log, it takes twenty times as much processor time.
        execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}" STRATEGY FILE_COPY')
        return urlsplit(embedded.database_url)._replace(path=f"/{name}").geturl()

    def make(*, migrated: bool = True) -> str:
        if migrated and not template:
            from nnlite.db.engine import upgrade

            upgrade(create("migrated", "template0"))
            template.append("migrated")
        return create(f"test_{next(numbers)}", template[0] if migrated else "template0")

    return make


@pytest.fixture
def database_url(make_database: Callable[..., str], execute: Callable[[str], None]) -> Iterator[str]:
    """A database of this test alone: migrated, without rows."""
    url = make_database()
    yield url
    execute(_drop(url))


@pytest.fixture
def bare_database_url(make_database: Callable[..., str], execute: Callable[[str], None]) -> Iterator[str]:
    """A database of this test alone: not migrated."""
    url = make_database(migrated=False)
    yield url
    execute(_drop(url))


@pytest.fixture(scope="session")
def _broker_numbers() -> Iterator[int]:
    return itertools.cycle(_BROKER_DATABASES)


@pytest.fixture
def broker_url(embedded: Endpoints, _broker_numbers: Iterator[int]) -> str:
    """An empty numbered database of the broker."""
    url = urlsplit(embedded.broker_url)._replace(path=f"/{next(_broker_numbers)}").geturl()
    with closing(redis.Redis.from_url(url)) as client:
        client.flushdb()
    return url


def embedded_settings(home: Path, **local: float) -> Settings:
    """Return settings for embedded servers in `home`, whatever the environment says."""
    servers = LocalSettings(**({"start_timeout_s": HANG_S} | local))
    return Settings(home=home, database_url=None, broker_url=None, local=servers, _env_file=None)


def temporary_home() -> Path:
    """Make a folder that every account can enter; in memory where there is plenty, which is faster."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 * 1024**3
    home = Path(tempfile.mkdtemp(prefix="nnlite-test-", dir=memory if roomy else None))
    home.chmod(0o755)
    return home


def _drop(url: str) -> str:
    return f'DROP DATABASE "{urlsplit(url).path.lstrip("/")}" WITH (FORCE)'
