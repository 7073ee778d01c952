"""A worker imports only what it needs: its start is paid by every process."""

import subprocess
import sys

import pytest

from waiting import HANG_S

pytestmark = pytest.mark.process

UNNEEDED = {"alembic", "flower", "nnlite.cli", "prometheus_client", "tornado", "torch", "typer"}


@pytest.mark.parametrize("worker", ["nnlite_benchmark", "nnlite_conversion"])
def test_a_worker_imports_only_what_it_needs(worker):
    code = f"import sys, {worker}.__main__; print(*sorted({UNNEEDED} & sys.modules.keys()))"
    imported = subprocess.run(
        [sys.executable, "-c", code], timeout=HANG_S, capture_output=True, text=True, check=True
    )
    assert imported.stdout.split() == []
