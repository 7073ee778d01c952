"""What three further precisions cost, next to the fp32 conversion of the same models.

Random LEMUR models, converted in forks of one warm process: to fp32; to fp32, which is compared with its
network on eight pictures, too; and to fp32, fp16, dynamic and int8, all compared on these pictures and int8
calibrated on them. All again without shortcut `weights`, with which quantizing does less. Costs are the
processor time of all processes of a conversion, which other load changes little, and the time by the clock.
`python tests/benchmarks/precisions.py MODELS` prints the figures.
"""

import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.conversions import SEED, own_settings
from lemur_coverage import job_of
from nnlite.catalog.selection import select
from nnlite.catalog.sources import load_source
from nnlite.errors import Failure
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import Precision, Shortcut
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.isolation.huge_pages import into_huge_pages
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.preload import preload

MODELS = 13
ALL = (Precision.FP32, Precision.FP16, Precision.DYNAMIC, Precision.INT8)
#: Shortcuts of the conversions, by the start of the figures' names.
SHORTCUTS = {"": tuple(Shortcut), "without_weights_": tuple(set(Shortcut) - {Shortcut.WEIGHTS})}


class Cost(NamedTuple):
    """What a conversion took."""

    cpu_s: float
    seconds: float


class Costs(NamedTuple):
    """What the conversions of one model took: to fp32, with pictures, and to all precisions."""

    fp32: Cost
    with_pictures: Cost
    all: Cost


def run(models: int = MODELS, *, start_method: str = "spawn") -> dict[str, Any]:
    """Return what the further precisions cost, and the ratios to the plain fp32 conversions.

    Args:
        start_method: how the process that forks is started: it imports the converter unless forked.
    """
    with own_settings() as settings:
        source = load_source("lemur", settings)
        # Some more, because not every one can have all precisions.
        chosen = select(source.models(), limit=models + models // 2, seed=SEED)
        jobs = [job_of(source, model) for model in chosen]
        with multiprocessing.get_context(start_method).Pool(1) as pool:
            each = pool.apply(costs, (jobs, models, settings.home / "conversions"))
    figures: dict[str, Any] = {"models": len(each)}
    for measure in Cost._fields:
        plain = [getattr(of[""].fp32, measure) for of in each]
        figures[f"fp32_{measure}"] = round(sum(plain), 1)
        for name in SHORTCUTS:
            taken = [[getattr(cost, measure) for cost in of[name]] for of in each]
            for what, added in {
                "further": [of_all - pictures for _, pictures, of_all in taken],
                "further_and_pictures": [of_all - fp32 for fp32, _, of_all in taken],
            }.items():
                ratios = [max(0.0, one) / base for one, base in zip(added, plain, strict=True)]
                figures |= {
                    f"{name}{what}_{measure}": round(sum(added), 1),
                    f"{name}{what}_{measure}_median_ratio": round(median(ratios), 2),
                    f"{name}{what}_{measure}_highest_ratio": round(max(ratios), 2),
                }
    return figures


def costs(jobs: Sequence[ConversionJob], wanted: int, folder: Path) -> list[dict[str, Costs]]:
    """Convert in forks of this process; return the costs of the first `wanted` models with all precisions."""
    preload()
    into_huge_pages()  # as the fork server
    found: list[dict[str, Costs]] = []
    for job in jobs:
        of_model: dict[str, Costs] = {}
        try:
            for name, shortcuts in SHORTCUTS.items():
                settings = ConversionSettings(shortcuts=shortcuts)
                pictures = replace(job, precisions=(Precision.FP32,))
                setups = (replace(pictures, calibration=None), pictures, replace(job, precisions=ALL))
                of_model[name] = Costs(*(_cost(each, settings, folder) for each in setups))
        except Failure as failure:
            print(f"{job.model.name}: {failure.reason}", file=sys.stderr)
            continue
        found.append(of_model)
        if len(found) == wanted:
            break
    return found


def _cost(job: ConversionJob, settings: ConversionSettings, folder: Path) -> Cost:
    """Convert once.

    Raises:
        Failure: not all precisions could be made.
    """
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    own = time.process_time()
    with convert(job, settings, workdir=folder, tick=lambda stage: True) as outcome:
        for refused in outcome.refused:
            raise Failure(refused.failure_class, refused.stage, f"{refused.precision}: {refused.reason}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime + time.process_time() - own
    return Cost(cpu_s, time.monotonic() - started)


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else MODELS), indent=2))
