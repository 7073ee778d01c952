"""Memory of a conversion worker during many conversions, which must not grow.

What converts is a child that comes and goes with its model; what stays is the worker, its pool's process and
the process that forks the children. Small models, because the size of a model is nothing that stays.
`python -m benchmarks.memory COUNT` prints the figures.
"""

import json
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.conversions import SEED, WORKER, Setup, converted, own_settings
from nnlite.catalog.selection import select
from nnlite.catalog.sources import load_source
from nnlite_conversion.isolation.process_tree import rss_kb, tree_of

CONVERSIONS = 500
#: Names of LEMUR's smallest models.
SMALL = "rag-*"


def run(
    conversions: int = CONVERSIONS, *, match: str = SMALL, worker: Sequence[str] = WORKER
) -> dict[str, Any]:
    """Return the worker's memory in the first and in the last tenth of the conversions, in MB.

    Args:
        match: pattern of the models' names.
        worker: the command of the conversion worker, but for the number of processes.
    """
    samples: list[tuple[int, dict[int, int]]] = []

    def note(pid: int, done: int) -> None:
        samples.append((done, {each: rss_kb(each) for each in tree_of(pid)}))

    with own_settings() as settings:
        source = load_source("lemur", settings)
        models = select(source.models(), match=match, limit=conversions, seed=SEED)
        converted(settings, models, source, worker, name="memory", setup=Setup(), on_poll=note)
    return figures(samples, len(models))


def figures(samples: Sequence[tuple[int, dict[int, int]]], conversions: int) -> dict[str, Any]:
    """Return the figures.

    Args:
        samples: conversions that have ended, and kB by PID of each process of the worker's tree.
    """
    # Of the first samples are those in which the worker still imports.
    started = [sample for sample in samples if sample[0] > 0] or list(samples)
    lasting = set.intersection(*(set(sizes) for _, sizes in started))
    totals = [(done, sum(sizes[pid] for pid in lasting) / 1024) for done, sizes in started]
    tenth = max(1, conversions // 10)
    begin, end = totals[0][0], totals[-1][0]
    first = median(mb for done, mb in totals if done <= begin + tenth)
    last = median(mb for done, mb in totals if done >= end - tenth)
    return {
        "conversions": conversions,
        "processes": len(lasting),
        "first_mb": round(first, 1),
        "last_mb": round(last, 1),
        "last_to_first_ratio": round(last / first, 3),
    }


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else CONVERSIONS), indent=2))
