"""`nnlite doctor --compose-env`: what fits this machine, as lines for the `.env` of docker compose.

A conversion needs about 1 GB, seldom up to 3 (`make bench` on LEMUR), and the
libraries that a worker shares with its conversions half of one.
"""

from collections.abc import Collection, Iterator
from itertools import groupby
from typing import Final

from nnlite.host.cores import Cores
from nnlite.vocabulary import QuietMode

#: For the system, Postgres, Redis and the rest, at least this and at least a quarter of the machine.
_OTHERS_MB: Final = 4096
_LIBRARIES_MB: Final = 1024
#: Enough for nine conversions of ten that run side by side.
_PER_CONVERSION_MB: Final = 2048
#: More than the largest one is seen to take.
_LARGEST_CONVERSION_MB: Final = 6144


def compose_env(cores: Cores, memory_mb: int) -> Iterator[str]:
    """Yield the lines of `.env` that fit a machine with these cores and memory, with what they are for."""
    count = len({*cores.measuring, *cores.converting})
    yield f"# For a machine with {count} cores and {memory_mb / 1024:.0f} GB of memory."
    if cores.mode is QuietMode.PINNED_CORES:
        yield "# Conversions and measurements have cores of their own, so that neither waits for the other."
        yield f"LAB_CONVERT_CPUSET={ranges(cores.converting)}"
        yield f"LAB_BENCHMARK_CPUSET={ranges(cores.measuring)}"
    else:
        yield "# Too few cores to keep apart: conversions and measurements take turns, by lock files."
    for_converting_mb = max(_LIBRARIES_MB + _PER_CONVERSION_MB, memory_mb - max(_OTHERS_MB, memory_mb // 4))
    at_a_time = max(1, min(len(cores.converting), (for_converting_mb - _LIBRARIES_MB) // _PER_CONVERSION_MB))
    converting_mb = min(for_converting_mb, _LIBRARIES_MB + at_a_time * _LARGEST_CONVERSION_MB)
    yield "# Conversions at a time in one container, each on one core; then --scale convert is not needed."
    yield f"LAB_CONVERT_CONCURRENCY={at_a_time}"
    yield f"LAB_CONVERT_CPUS={at_a_time}"
    yield "# Of all of them together, and the most that one of them may take before it is ended."
    yield f"LAB_CONVERT_MEMORY={converting_mb}m"
    yield f"LAB_CONVERSION_MEMORY_MB={min(_LARGEST_CONVERSION_MB, converting_mb - _LIBRARIES_MB)}"


def ranges(cores: Collection[int]) -> str:
    """Return `cores` as the kernel writes them, such as `0-3,8`."""
    runs = groupby(enumerate(sorted(cores)), key=lambda pair: pair[1] - pair[0])
    ends = [[core for _, core in run] for _, run in runs]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in ends)
