"""Imports of the parent's and the child's package: no torch in the one, no database or queue in the other."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from waiting import HANG_S

#: Nothing of these may be imported by the code that runs with a model, even indirectly.
SERVERS = ("sqlalchemy", "psycopg2", "redis", "celery", "kombu", "nnlite.db", "nnlite.queue", "nnlite.worker")
LIBRARIES = ("torch", "jax", "litert_torch", "ai_edge_litert", "nnlite_conversion.pipeline")

PROGRAM = Path(__file__).parent / "programs" / "import_packages.py"


def imported_by(*names: str) -> list[str]:
    """Import modules, and all modules of packages, in a fresh interpreter; return what it imported."""
    run = subprocess.run(
        [sys.executable, PROGRAM, *names], capture_output=True, text=True, timeout=HANG_S, check=True
    )
    return json.loads(run.stdout.splitlines()[-1])


def among(modules: list[str], forbidden: tuple[str, ...]) -> list[str]:
    return [name for name in modules if any(f"{name}.".startswith(f"{each}.") for each in forbidden)]


@pytest.mark.parametrize("name", ["nnlite_conversion.isolation", "nnlite_conversion.converter"])
def test_the_parent_imports_neither_torch_nor_the_pipeline(name):
    assert among(imported_by(name), LIBRARIES) == []


@pytest.mark.parametrize("name", ["nnlite_conversion.pipeline.body"])
def test_the_pipeline_imports_neither_database_nor_queue(name):
    assert among(imported_by(name), SERVERS) == []
