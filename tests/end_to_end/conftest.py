"""A user's machine: the command as a program, a home of its own, and a small LEMUR.

The LEMUR holds three real models, taken from the installed wheel's files, and
three hostile ones in the same layout.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from sqlalchemy.exc import DBAPIError

from nnlite.catalog.lemur.location import WHEEL
from nnlite.db.engine import engine_for
from nnlite.errors import NnliteError
from nnlite.local import endpoints
from nnlite.results.queries import Progress, campaigns
from nnlite.settings import Settings
from nnlite_conversion.isolation.process_registry import FOLDER
from waiting import HANG_S, end_all, name_of, wait_until

T = TypeVar("T")
REAL = ("DPN68", "rl-init-2a44b82bd55bc4bb9787225ac8875838", "alt-138c6fd98788be69bfa0c94e9bf7b316")
_HOSTILE = """
import os, signal, time
import torch

def supported_hyperparameters():
    return {{"lr"}}

class Net(torch.nn.Module):
    def __init__(self, in_shape, out_shape, prm, device):
        super().__init__()
        self.layer = torch.nn.Linear(10, 10)
        {deed}

    def forward(self, x):
        return self.layer(x.flatten(1)[:, :10])
"""
HOSTILE = {
    "Crasher": "os.kill(os.getpid(), signal.SIGABRT)",
    "Hog": "self.hoard = [torch.ones(64 << 20) for _ in range(1000)]",
    "Sleeper": "time.sleep(3600)",
}
#: What would make a test wait, shortened; limits out of reach of a slow machine; nothing else is changed.
QUICK = {
    "NNLITE_MEASUREMENT__MIN_S": "0.2",
    "NNLITE_MEASUREMENT__WARMUP_MIN_S": "0.05",
    "NNLITE_MEASUREMENT__MAX_S": f"{HANG_S}",
    "NNLITE_MEASUREMENT__FEW_RUNS_MAX_S": f"{HANG_S}",
    "NNLITE_MEASUREMENT__CANARY_RUNS": "4",
    "NNLITE_MEASUREMENT__NOISY_REPEATS": "0",
    "NNLITE_MEASUREMENT__AUDIT_SHARE": "0",
    # Off by default; however busy the machine is, every slice counts.
    "NNLITE_MEASUREMENT__GATED": "true",
    "NNLITE_MEASUREMENT__GATE_LIMIT": "1e9",
    "NNLITE_MEASUREMENT__GATE_LEARN_S": "0.1",
    "NNLITE_QUEUE__MAX_STRIKES": "2",
    # A lease may miss many heartbeats; longer ones would keep what a killed worker had in hand waiting.
    "NNLITE_QUEUE__HEARTBEAT_S": "2",
    "NNLITE_QUEUE__REAPER_INTERVAL_S": "2",
    "NNLITE_QUEUE__LEASE_S": "45",
    "NNLITE_QUEUE__STOP_TIMEOUT_S": f"{HANG_S / 2}",
    "NNLITE_LOCAL__START_TIMEOUT_S": f"{HANG_S / 2}",
    "NNLITE_LOCAL__STOP_TIMEOUT_S": f"{HANG_S / 2}",
    "NNLITE_CONVERSION__MEMORY_LIMIT_MB": "2500",
}


@dataclass
class Started:
    """A command that runs."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def signal(self, number: signal.Signals) -> None:
        """Signal its process group, as a terminal does; it may have ended already."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL the command itself, and nothing that it started."""
        self.process.kill()

    def wait(self) -> subprocess.CompletedProcess[str]:
        """Wait for its end and return what it said."""
        code = self.process.wait(HANG_S)
        return subprocess.CompletedProcess(
            self.process.args, code, self.out.read_text(), self.err.read_text()
        )


@dataclass
class Machine:
    """One home, one LEMUR, and every process that was started for them."""

    home: Path
    lemur: Path
    mark: str
    started: list["Started"] = field(default_factory=list)

    def environment(self, **settings: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("NNLITE_")}
        own = {"NNLITE_HOME": str(self.home), "NNLITE_LEMUR": str(self.lemur), "E2E_MARK": self.mark}
        return inherited | own | QUICK | settings

    def start(self, *arguments: str, **settings: str) -> "Started":
        """Start the command in a process group of its own; what it says goes to files: a pipe fills."""
        folder = self.home / "said"
        folder.mkdir(exist_ok=True)
        number = len(self.started)
        out, err = folder / f"{number}.out", folder / f"{number}.err"
        with out.open("w") as stdout, err.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "nnlite.cli", *arguments],
                env=self.environment(**settings),
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self.started.append(Started(process, out, err))
        return self.started[-1]

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        started = self.start(*arguments, **settings)
        try:
            return started.wait()
        except subprocess.TimeoutExpired:
            started.kill()
            raise AssertionError(f"{arguments} hangs:\n{started.wait()}\n{self.logs()}") from None

    def json(self, *arguments: str) -> list[dict[str, Any]]:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def progress(self) -> list[Progress] | None:
        """What `nnlite status` would say, without the start of a program; None while nothing answers."""
        settings = Settings(home=self.home, database_url=None, broker_url=None, _env_file=None)
        try:
            engine = engine_for(endpoints(settings).database_url)
        except NnliteError:
            return None
        try:
            return campaigns(engine)
        except DBAPIError:
            return None
        finally:
            engine.dispose()

    def sql(self, query: str) -> list[str]:
        """The lines that psql answers with."""
        done = subprocess.run(
            [sys.executable, "-m", "nnlite.cli", "db", "psql"],
            input=f"\\pset format unaligned\n\\pset tuples_only\n{query};\n",
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=True,
        )
        return [line for line in done.stdout.splitlines() if not line.endswith(".")]

    def processes(self) -> list[psutil.Process]:
        """Living processes of this machine, zombies not counted."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("E2E_MARK") == self.mark and process.status() != "zombie":
                    found.append(process)
        return found

    def wait_for(self, what: str, condition: Callable[[], T]) -> T:
        """Wait until `condition` holds and return what it returned."""
        return wait_until(condition, what, self.logs)

    def children(self) -> list[dict[str, Any]]:
        """The conversion children that the workers have registered as running."""
        registered = []
        for file in (self.home / "conversions" / FOLDER).glob("*.json"):
            with suppress(FileNotFoundError):  # it has ended meanwhile
                registered.append(json.loads(file.read_text()))
        return registered

    def logs(self) -> str:
        return "\n".join(
            f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}"
            for log in sorted((self.home / "logs").glob("*.log"))
        )


@pytest.fixture(scope="session")
def lemur_wheel() -> Path:
    """The wheel that `make test` brought before the tests began."""
    brought = Path(__file__).parents[2] / ".nnlite" / "sources" / WHEEL
    wheel = Path(os.environ.get("NNLITE_LEMUR") or brought)
    if not wheel.is_file():
        pytest.fail("no LEMUR wheel here: run the tests by `make test`, or set NNLITE_LEMUR to one")
    return wheel


@pytest.fixture(scope="session")
def small_lemur(lemur_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of LEMUR with three real and three hostile models."""
    root = Path(tempfile.mkdtemp(prefix="nnlite-lemur-"))
    root.chmod(0o755)
    with zipfile.ZipFile(lemur_wheel) as wheel:
        wanted = [
            name
            for name in wheel.namelist()
            if name.startswith("ab/nn/transform/")
            or any(name == f"ab/nn/nn/{model}.py" or f"_{model}/" in name for model in REAL)
        ]
        wheel.extractall(root, wanted)
    for name, deed in HOSTILE.items():
        (root / f"ab/nn/nn/{name}.py").write_text(_HOSTILE.format(deed=deed))
    yield root
    shutil.rmtree(root)


@pytest.fixture
def machine(small_lemur: Path) -> Iterator[Machine]:
    """A machine of this test alone; whatever it leaves running fails the test and is ended."""
    home = Path(tempfile.mkdtemp(prefix="nnlite-e2e-"))
    home.chmod(0o755)
    machine = Machine(home, small_lemur, uuid.uuid4().hex)
    yield machine
    names = [name_of(process) for process in machine.processes()]
    while left := machine.processes():  # one that starts others may have started one meanwhile
        end_all(left)
    for started in machine.started:
        started.process.wait(HANG_S)
    assert names == [], machine.logs()
    shutil.rmtree(home)
