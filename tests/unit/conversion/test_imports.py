"""Imports of parents and of the child's package: no torch in the one, no database or queue in the other."""

import json
import subprocess
import sys
from pathlib import Path

from waiting import HANG_S

#: Nothing of these may be imported by the code that runs with a model, even indirectly.
SERVERS = ("sqlalchemy", "psycopg2", "redis", "celery", "kombu", "nnlite.db", "nnlite.queue", "nnlite.worker")
OTHER_RUNTIMES = ("onnxruntime", "executorch")
LIBRARIES = ("torch", "jax", "litert_torch", "ai_edge_litert", "nnlite_conversion.pipeline")

PROGRAM = Path(__file__).parent / "programs" / "import_packages.py"


def imported_by(*names: str) -> list[list[str]]:
    """Import what `import_packages.py` is given, in a fresh interpreter; return all modules after each."""
    run = subprocess.run(
        [sys.executable, PROGRAM, *names], capture_output=True, text=True, timeout=HANG_S, check=True
    )
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("[")]


def among(modules: list[str], forbidden: tuple[str, ...]) -> list[str]:
    return [name for name in modules if any(f"{name}.".startswith(f"{each}.") for each in forbidden)]


def test_the_parent_imports_neither_torch_nor_the_pipeline():
    *_, imported = imported_by("nnlite_conversion.isolation", "nnlite_conversion.converter")
    assert among(imported, LIBRARIES) == []


def test_the_pipeline_imports_neither_database_nor_queue_and_its_parent_no_other_runtime():
    """Their threads would be lost in a fork, and few conversions need them: a child imports what it needs."""
    body, preloaded = imported_by("nnlite_conversion.pipeline.body", "nnlite_conversion.preload:preload")
    assert among(body, SERVERS) == []
    assert among(preloaded, OTHER_RUNTIMES) == []


def test_the_parent_of_measuring_processes_has_imported_litert_only():
    (imported,) = imported_by("nnlite_benchmark.host.fork_server:import_runtime")
    assert "ai_edge_litert" in imported
    assert among(imported, (*SERVERS, *OTHER_RUNTIMES)) == []
