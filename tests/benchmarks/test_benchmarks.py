"""Every benchmark runs in a small size, on a LEMUR of one small model."""

import math
import shutil
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    against,
    app_runtime,
    campaign,
    catalogue,
    conversions,
    cores,
    gating,
    load,
    memory,
    overhead,
    precisions,
    queue_rate,
    quiet,
    start_up,
    twice,
)
from benchmarks.__main__ import NAMES, ON_REQUEST, flat, main
from conftest import embedded_settings, temporary_home
from integration.benchmark.conftest import fork_server, one_fork_server
from integration.canned import with_median
from nnlite.db.engine import upgrade
from nnlite.local import Endpoints, servers, workers_lock
from nnlite.vocabulary import Precision
from toys import LINEAR
from unit.catalog.copies import Lemur, trial

#: Devices leave the fork server to the next benchmark, too.
__all__ = ["fork_server", "one_fork_server"]


@contextmanager
def noop_home():
    """Yield a home with servers and workers that do nothing: starting the real ones takes long."""
    home = temporary_home()
    settings = embedded_settings(home)
    with workers_lock(settings) as try_lock, servers(settings) as endpoints:
        assert try_lock()
        upgrade(endpoints.database_url)
        with queue_rate.noop_workers(home, endpoints):
            yield home
    shutil.rmtree(home)


def small_campaign():
    """Run `nnlite run` twice."""
    with noop_home() as home:
        return campaign.run_in(home, models=1)


def small_against():
    """Measure this checkout against itself, in one home."""
    with noop_home() as home:
        both = [against.Installation(name, Path(sys.executable), home) for name in ("then", "now")]
        return against.compared(both, models=1, turns=1)


def small_conversions():
    """Convert one model in the plain loop and none in the worker.

    Each setup starts a worker. Those left out differ in a setting's value from `without_shortcuts`, which has
    one process and another list of shortcuts than the first two.
    """
    worker = (*queue_rate.NOOP_WORKER, "conversion")
    setups = ("ours", "cached", "without_shortcuts")
    return conversions.run(models=1, setups=setups, worker=worker, start_method=start_method())


def start_method():
    """Return how a process that converts is started: it imports nothing if a fork can do it."""
    forks = "litert_torch" in sys.modules and len(list(Path("/proc/self/task").iterdir())) == 1
    return "fork" if forks else "spawn"


#: A few runs, once: how the machine disturbs them does not matter.
SHORT = {
    "warmup_min_runs": 1, "warmup_min_s": 0, "warmup_agreeing_runs": 0, "min_runs": 5, "min_s": 0,
    "canary_runs": 4, "max_canary_drift": 1e9, "gate_limit": 1e9, "gate_learn_s": 0.1, "warm_init": False,
}  # fmt: skip
#: A new benchmark needs an entry, which takes seconds.
SMALL = {
    "catalogue": lambda: catalogue.run(sqlite_mb=0),
    "queue_rate": lambda: queue_rate.run(models=20),
    "quiet": lambda: quiet.run(number_of_pairs=1, converters=1, **SHORT),
    "gating": lambda: gating.run(rounds=2, jobs=[overhead.JOB], **SHORT),
    "twice": lambda: twice.run(jobs=[quiet.JOB, overhead.JOB], **SHORT),
    "load": lambda: load.run(1, lambda models: load.measured_directly(models, **SHORT)),
    "overhead": lambda: overhead.run(rounds=1, measurements=1, **SHORT),
    "conversions": small_conversions,
    "precisions": lambda: precisions.run(models=1, start_method=start_method()),
    "campaign": small_campaign,
    "app_runtime": lambda: app_runtime.run(
        artifacts=[(quiet.JOB.artifact, Precision.FP32)], turns=2, turn_s=0
    ),
    "cores": lambda: cores.run(rounds=2, jobs=[overhead.JOB], **SHORT),
    "memory": lambda: memory.run(1, match="*", worker=(*queue_rate.NOOP_WORKER, "conversion")),
    "start_up": lambda: start_up.run(("status", "--help"), starts=1),
    "against": small_against,
}


@pytest.fixture
def small_lemur(monkeypatch, tmp_path):
    """Let the settings name a wheel of LEMUR with one small model."""
    lemur = Lemur().trained("Linear", trial("one"), code=LINEAR)
    monkeypatch.setenv("NNLITE_LEMUR", str(lemur.wheel(tmp_path / "lemur-0-py3-none-any.whl")))


@pytest.fixture
def these_servers(monkeypatch, database_url, broker_url):
    """Let benchmarks use the servers of this test run instead of starting their own."""
    endpoints = Endpoints(database_url=database_url, broker_url=broker_url)
    for module in (queue_rate, conversions, start_up):
        monkeypatch.setattr(module, "servers", lambda _: nullcontext(endpoints))
        monkeypatch.setattr(module, "upgrade", lambda _: None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.usefixtures("small_lemur", "these_servers")
@pytest.mark.parametrize("name", NAMES + ON_REQUEST)
def test_a_benchmark_gives_its_figures(name):
    assert name in SMALL, "a new benchmark: add how it runs in a small size to SMALL"
    ratios = [value for figure, value in flat(SMALL[name]()) if figure.endswith("ratio")]
    assert ratios
    # Rounded, one of times on a busy machine may be 0.
    assert all(ratio >= 0 for ratio in ratios)


def test_a_revision_is_what_is_tracked_in_it(tmp_path):
    source = against.source_of("HEAD", tmp_path / "source")

    assert {"constraints.txt", "pyproject.toml", "services"} <= {path.name for path in source.iterdir()}


def test_a_command_that_is_interrupted_has_ended_before_its_folder_is_removed(tmp_path):
    program = Path(__file__).parent / "programs" / "interrupt_parent.py"

    with pytest.raises(KeyboardInterrupt):
        against.finished([sys.executable, program], tmp_path)

    assert (tmp_path / "stopped").exists()


def test_an_unknown_benchmark_is_refused(capsys):
    assert main(["nothing"]) == 2
    assert ", ".join(NAMES + ON_REQUEST) in capsys.readouterr().err


def test_memory_is_that_of_the_processes_that_stay():
    samples = [(0, {1: 9}), (1, {1: 1024, 2: 500}), (2, {1: 1024, 3: 700}), (10, {1: 2048})]

    assert memory.figures(samples, 10) == {
        "conversions": 10, "processes": 1, "first_mb": 1.0, "last_mb": 2.0, "last_to_first_ratio": 2.0,
    }  # fmt: skip


def result(model, run, verdict, cause=None, median_ns=1_000_000):
    return load.Result(model=model, run=run, verdict=verdict, noise_cause=cause, median_ns=median_ns)


def test_an_affected_result_is_noisy_with_its_cause_and_valid_after_the_load():
    figures = load.run(
        3,
        lambda _: [
            result("a", 1, "noisy", "other processes used 1.9 of 2 cores", median_ns=2_000_000),
            result("a", 2, "noisy", "no cause visible"),
            result("a", 3, "valid"),
            result("b", 1, "noisy", "no cause visible"),
            result("c", 1, "valid"),
        ],
    )

    names = ("affected", "noisy", "cause_named", "repeats", "valid_after", "loaded_to_quiet_ratio")
    assert [figures[name] for name in names] == [2, 2, 1, 2, 1, 2.0]


def test_the_second_of_two_measurements_is_covered_by_an_interval_that_knows_the_variation():
    def report(median_ns):
        return with_median(median_ns, round(0.999 * median_ns), round(1.001 * median_ns))

    first = [report(1000 * number) for number in range(100, 120)]
    second = [report(1000 * number + 20 * number) for number in range(100, 120)]

    figures = twice.figures(first, second)

    assert (figures["difference_median"], figures["spearman"]) == (0.02, 1)
    names = ("covered_by_run_share", "covered_by_one_pair_share", "covered_by_assumption_share")
    assert [figures[name] for name in names] == [0, 1, 1]
    # Equal differences are not quite equal numbers.
    assert figures["covered_share"] >= 0.95
    assert figures["second_to_first_ratio"] == 1.02


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], 3.182 * 0.06),
        ([0.01], 2.776 * math.sqrt((3 * 0.06**2 + 0.01**2) / 4)),
        ([0.01] * 18, 2.080 * math.sqrt((3 * 0.06**2 + 18 * 0.01**2) / 21)),
        ([0.01 * number for number in range(1, 20)], 0.19),
        ([0.01 * number for number in range(1, 40)], 0.38),
    ],
)
def test_what_the_next_pair_may_differ_by_is_as_in_the_views(pairs, expected):
    assert twice.expected_difference(np.array(pairs)) == pytest.approx(expected)
