"""Conversions per hour: our worker against a plain warm loop, on the same models.

The loop is what a script does: import once, then `litert_torch.convert` one
model after another, with as many threads as torch takes by default, one for each
core; a conversion of the worker has one. Models that the plain loop cannot convert
are left to neither side. No benchmarks run with either. The worker runs with two
processes, again in the same home, where everything is converted already, with
one process, and with one that lacks shortcuts of lowering.

Seconds are of the clock; CPU seconds are those of all processes of the loop or of the worker, without the
servers: what a core takes, whatever else the machine does. Files are equal whose operators are the same, and
whose outputs are, bit by bit, for a random input: both sides draw the same weights.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from sqlalchemy import Engine, text

from benchmarks.plain_loop import Taken, equal, plain_loop
from nnlite.campaigns.request import Request
from nnlite.campaigns.submit import submit
from nnlite.catalog.model import CatalogModel
from nnlite.catalog.selection import select
from nnlite.catalog.sources import load_source
from nnlite.db.engine import autocommit, engine_for, upgrade
from nnlite.local import Endpoints, servers
from nnlite.queue.messages import BrokerClient
from nnlite.results.queries import Progress, campaigns
from nnlite.settings import Settings, load_settings
from nnlite.vocabulary import Shortcut
from nnlite_conversion.isolation.process_tree import tree_of
from waiting import HANG_S

# What an attempt took besides the stages of its child: claim, cache, fork, storing, writing.
_OVERHEAD = text("""
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY overhead_s) * 1000 AS median_ms FROM (
    SELECT extract(epoch FROM a.ended_at - a.started_at)
           - (SELECT sum(value::bigint) / 1e9 FROM jsonb_each_text(a.details -> 'timings_ns')) AS overhead_s
    FROM attempt a
    WHERE a.campaign_id = :campaign AND a.outcome = 'done' AND a.details -> 'timings_ns' IS NOT NULL
) o
""")
_SPAN = text("""
SELECT extract(epoch FROM max(ended_at) - min(started_at)) FROM attempt WHERE campaign_id = :campaign
""")
_FILES = text("""
SELECT model.name, artifact.path FROM conversion JOIN model ON model.id = conversion.model_id
    JOIN artifact ON artifact.identity = conversion.identity
WHERE conversion.campaign_id = :campaign
""")
MODELS = 30
SEED = 11
#: Longest time without a further conversion, against hangs.
_TIMEOUT_S = 1800


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How the worker runs."""

    processes: int = 1
    shortcuts: tuple[Shortcut, ...] = tuple(Shortcut)
    #: The setup in whose home it runs, so that everything is in the cache; None: in one of its own.
    after: str | None = None


#: The first is the one that the plain loop is compared with.
SETUPS = {
    "ours": Setup(processes=2),
    "cached": Setup(processes=2, after="ours"),
    "one_process": Setup(),
    **{
        f"without_{left}": Setup(shortcuts=tuple(each for each in Shortcut if each is not left))
        for left in Shortcut
    },
    "without_shortcuts": Setup(shortcuts=()),
}

#: The command of the conversion worker, but for the number of processes.
WORKER = (sys.executable, "-m", "nnlite.cli", "worker", "convert", "--concurrency")


@contextmanager
def own_settings() -> Iterator[Settings]:
    """Settings with LEMUR's files and an empty home, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="nnlite-benchmark-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # model code runs as an account of its own
        yield Settings(
            home=home, lemur=load_settings().lemur, database_url=None, broker_url=None, _env_file=None
        )


def run(
    models: int = MODELS,
    *,
    setups: Collection[str] = SETUPS,
    worker: Sequence[str] = WORKER,
    start_method: str = "spawn",
) -> dict[str, Any]:
    """Return the rates, their ratios to the loop's, and what a conversion costs besides its stages.

    Args:
        setups: names of those that run.
        worker: the command of the conversion worker, but for the number of processes.
        start_method: how the process of the plain loop is started: it imports the converter unless forked.
    """
    with own_settings() as settings:
        source = load_source("lemur", settings)
        # Some more, because the plain loop cannot convert every one, and one is converted before.
        candidates = select(source.models(), limit=models + models // 2, seed=SEED)
        codes = [source.code(model) for model in candidates]
        # One warm process.
        files = settings.home / "plain"
        files.mkdir()
        with multiprocessing.get_context(start_method).Pool(1) as pool:
            plain = pool.apply(plain_loop, ([asdict(model) for model in candidates], codes, models, files))
        chosen = [model for model in candidates if model.name in plain]
        other = next((model for model in reversed(candidates) if model.name not in plain), None)
        loop = Taken(*map(sum, zip(*plain.values(), strict=True)))
        figures: dict[str, Any] = {
            "models": len(chosen),
            "plain_seconds": round(loop.seconds, 1),
            "plain_cpu_seconds": round(loop.cpu_seconds, 1),
            "plain_per_hour": round(len(chosen) / loop.seconds * 3600),
        }
        for name, setup in SETUPS.items():
            if name not in setups:
                continue
            own = settings.model_copy(update={"home": settings.home / (setup.after or name)})
            os.sync()  # gigabytes of artifacts: no setup waits for what the one before has written
            ours = converted(own, chosen, source, worker, name=name, setup=setup, before=other)
            assert ours.models == len(chosen), f"{ours.models} of {len(chosen)} models were converted"
            seconds, cpu_seconds = ours.taken
            figures |= {
                f"{name}_seconds": round(seconds, 1 if seconds > 10 else 3),
                f"{name}_cpu_seconds": round(cpu_seconds, 1),
                f"{name}_per_hour": round(len(chosen) / seconds * 3600),
                "ratio" if name == "ours" else f"{name}_ratio": round(loop.seconds / seconds, 2),
                # Those of a worker that does nothing may be 0.
                "cpu_ratio" if name == "ours" else f"{name}_cpu_ratio": round(
                    loop.cpu_seconds / max(cpu_seconds, 0.01), 2
                ),
            }
            if name == "ours":
                figures |= {
                    "processes": setup.processes,
                    "overhead_ms_per_conversion": round(ours.overhead_ms, 1),
                }
            if setup.after:
                figures |= {f"{name}_from_cache": ours.from_cache}
            else:
                figures |= {f"{name}_equal": sum(equal(files / each, ours.files[each]) for each in plain)}
    return figures


class Converted(NamedTuple):
    """What a worker has done."""

    #: By the clock from the first claim to the last end.
    taken: Taken
    #: Of a conversion besides its stages, the median; 0 where all came from the cache.
    overhead_ms: float
    models: int
    from_cache: int
    #: By the name of its model.
    files: dict[str, Path]


def converted(
    settings: Settings,
    models: list[CatalogModel],
    source: Any,
    command: Sequence[str],
    *,
    name: str,
    setup: Setup,
    before: CatalogModel | None = None,
    on_poll: Callable[[int, int], None] = lambda worker, done: None,
) -> Converted:
    """Run a worker of its own until it has converted all models.

    Args:
        before: a model that is converted first and does not count: a worker's first conversion waits
            for its imports.
        on_poll: called with the worker's PID and the number of conversions that have ended.
    """
    with servers(settings) as endpoints:
        upgrade(endpoints.database_url)
        engine = engine_for(endpoints.database_url)
        worker = _worker((*command, str(setup.processes)), settings, endpoints, setup.shortcuts)

        def ended(models: list[CatalogModel], name: str) -> tuple[uuid.UUID, Progress]:
            campaign = submit(
                engine, BrokerClient(endpoints.broker_url, 10), Request(limit=len(models), pools=()),
                models=models, source=source, settings=settings, name=name, priority=5,
            ).id  # fmt: skip
            done, since = 0, time.monotonic()
            while not (progress := campaigns(engine, name)[0]).ended:
                if progress.converted > done:
                    done, since = progress.converted, time.monotonic()
                if time.monotonic() > since + _TIMEOUT_S or worker.poll() is not None:
                    raise RuntimeError(f"not converted: {progress}, worker {worker.returncode}")
                on_poll(worker.pid, progress.converted)
                time.sleep(0.2)
            return campaign, progress

        try:
            if before is not None:
                ended([before], f"before-{name}")
            cpu_began_s = _cpu_s(worker.pid)
            campaign, progress = ended(models, name)
            return Converted(
                taken=Taken(_span_s(engine, campaign), _cpu_s(worker.pid) - cpu_began_s),
                overhead_ms=_overhead_ms(engine, campaign),
                models=progress.converted,
                from_cache=progress.from_cache,
                files=_files(engine, campaign, settings),
            )
        finally:
            worker.terminate()
            worker.wait(HANG_S)
            engine.dispose()


def _worker(
    command: Sequence[str], settings: Settings, endpoints: Endpoints, shortcuts: Sequence[Shortcut]
) -> subprocess.Popen[bytes]:
    environment = dict(os.environ) | {
        "NNLITE_HOME": str(settings.home), "NNLITE_DATABASE_URL": endpoints.database_url,
        "NNLITE_BROKER_URL": endpoints.broker_url, "NNLITE_LOG_LEVEL": "WARNING",
        "NNLITE_CONVERSION__SHORTCUTS": json.dumps(shortcuts),
    }  # fmt: skip
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def _files(engine: Engine, campaign: uuid.UUID, settings: Settings) -> dict[str, Path]:
    with autocommit(engine) as connection:
        rows = connection.execute(_FILES, {"campaign": campaign})
        return {name: Path(settings.artifacts, path) for name, path in rows}


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its descendants, those that have ended included."""
    return sum(sum(psutil.Process(each).cpu_times()[:4]) for each in tree_of(pid))


def _overhead_ms(engine: Engine, campaign: uuid.UUID) -> float:
    with autocommit(engine) as connection:
        return float(connection.scalar(_OVERHEAD, {"campaign": campaign}) or 0)


def _span_s(engine: Engine, campaign: uuid.UUID) -> float:
    """From the first claim to the last end: neither side's imports count."""
    with autocommit(engine) as connection:
        return float(connection.scalar(_SPAN, {"campaign": campaign}))


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else MODELS), indent=2))
