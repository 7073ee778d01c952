"""Fixtures of tests on virtual devices, which run in their own network namespace; see `device.rig`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device.lab import AVD, Lab, RunningWorker
from device.rig.fetch import fetched
from device.rig.isolation import isolated
from device.rig.rig import Rig, RigDevice
from integration.conftest import Cluster
from nnlite.db.engine import engine_for
from nnlite.local import Endpoints
from nnlite.queue.messages import BrokerClient
from nnlite.settings import Settings

if not isolated():
    pytest.exit(
        "tests/device must run in a network namespace of its own: make test, or\n"
        "PYTHONPATH=tests .venv/bin/python -m device.rig.isolation .venv/bin/pytest tests/device",
        returncode=pytest.ExitCode.USAGE_ERROR,
    )
if not fetched():
    pytest.exit("adbd for the virtual devices is not there: make rig", returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Virtual devices of this test alone; its phones are switched off afterwards."""
    rig = Rig(tmp_path)
    yield rig
    rig.close()


@pytest.fixture(scope="module")
def lab(
    embedded: Endpoints, make_database: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """One cluster for all tests of a module: what one leaves behind would show in the next."""
    folder = tmp_path_factory.mktemp("lab")
    settings = Settings(
        home=folder, database_url=make_database(), broker_url=embedded.broker_url, _env_file=None
    )
    engine = engine_for(settings.database_url)
    broker = BrokerClient(settings.broker_url, 5)
    broker.redis.flushdb()
    (folder / "rig").mkdir()
    rig = Rig(folder / "rig")
    lab = Lab.make(Cluster(engine, broker, settings), rig, folder)
    yield lab
    lab.close()
    rig.close()
    broker.close()
    engine.dispose()


@pytest.fixture(scope="module")
def worker(lab: Lab, request: pytest.FixtureRequest) -> RunningWorker:
    """One worker with one emulator, which every fault of this module meets in turn.

    A module may have settings for it, in `WORKER`.
    """
    running = lab.worker(AVD, **getattr(request.module, "WORKER", {}))
    lab.wait_state(running.device, "ready")
    return running


@pytest.fixture
def device(lab: Lab, worker: RunningWorker) -> Iterator[RigDevice]:
    """The emulator, ready and without a fault before and after each test."""
    device = lab.sdk.avd(AVD.removeprefix("avd:"))
    yield device
    device.heal()
    device.backends()
    lab.wait_state(worker.device, "ready")
