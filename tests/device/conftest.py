"""Tests on virtual devices run whole inside a network of their own; see `device.rig`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from device.rig.fetch import fetched
from device.rig.isolation import isolated
from device.rig.rig import Rig

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
