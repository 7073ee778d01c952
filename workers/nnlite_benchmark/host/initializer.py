"""Initializes one artifact with XNNPACK's weight cache, in a measuring process of its own.

The runtime's interpreter, with which artifacts are measured, has no option for that cache; its compiled model
has. XNNPACK packs the weights into the layout of its kernels and writes them to the cache's file; a later
process that finds the file maps it into memory instead.
"""

import time
from pathlib import Path
from typing import Any

from nnlite.vocabulary import Stage


def initialize(artifact: str, threads: int, cache: str, runtime: str) -> dict[str, Any]:
    """Return the fields of a `RunReport` that an initialization tells.

    Args:
        artifact: the file to load.
        threads: of the CPU.
        cache: file of the weight cache, which is written if it does not exist.
        runtime: version of the runtime, for the report.
    """
    report: dict[str, Any] = {
        "runtime": "LiteRT",
        "runtime_version": runtime,
        "threads": threads,
        "stage": Stage.INITIALIZE.value,
    }
    try:
        return report | {"init_ns": _initialize(artifact, threads, cache)}
    except (ImportError, AttributeError, TypeError) as error:
        return report | {"error": f"this version of LiteRT has no weight cache: {error}"[:10_000]}
    except (OSError, ValueError, RuntimeError) as error:
        return report | {"error": (str(error) or type(error).__name__)[:10_000]}


def _initialize(artifact: str, threads: int, cache: str) -> int:
    """Return the duration from the artifact's file to a model that is ready, nanoseconds."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.environment import Environment
    from ai_edge_litert.options import CpuOptions, Options

    environment = Environment.create()
    options = Options(cpu_options=CpuOptions(num_threads=threads, xnnpack_weight_cache_path=cache))
    begin_ns = time.perf_counter_ns()
    model = CompiledModel.from_file(artifact, environment=environment, options=options)
    end_ns = time.perf_counter_ns()
    del model
    if not Path(cache).exists() or not Path(cache).stat().st_size:
        raise RuntimeError("LiteRT wrote no weight cache")
    return end_ns - begin_ns
