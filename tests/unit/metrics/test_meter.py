"""What a worker's meter makes of what it is told."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from nnlite.errors import FailureClass
from nnlite.metrics.prometheus_meter import PrometheusMeter, _reserve_files
from nnlite.queue.meter import FAILED, FOLDER_VARIABLE, RELEASED, Meter, meter_for
from nnlite.settings import Settings
from nnlite.vocabulary import WorkKind

CONVERSION = WorkKind.CONVERSION


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def meter(registry) -> PrometheusMeter:
    return PrometheusMeter(registry)


@pytest.fixture
def nothing_reserved() -> Iterator[None]:
    """A process that has not counted yet."""
    _reserve_files.cache_clear()
    yield
    _reserve_files.cache_clear()


def attempts(registry: CollectorRegistry, outcome: str, failure_class: str = "") -> float | None:
    labels = {"kind": "conversion", "outcome": outcome, "failure_class": failure_class}
    return registry.get_sample_value("nnlite_attempts_total", labels)


def test_a_worker_that_gets_ready_has_every_outcome_at_zero_so_that_a_rate_sees_the_first(registry, meter):
    meter.ready(CONVERSION, "convert")
    assert registry.get_sample_value("nnlite_worker_ready", {"queue": "convert"}) == 1
    assert attempts(registry, "done") == attempts(registry, "failed", "converter") == 0
    assert attempts(registry, "failed", "lost") is None, "the reaper's word"
    meter.unready("convert")
    assert registry.get_sample_value("nnlite_worker_ready", {"queue": "convert"}) == 0


def test_an_attempt_with_a_result_tells_its_stages_and_its_memory(registry, meter):
    details = {"timings_ns": {"lower": 3_000_000_000, "quiet": 10}, "peak_rss_kb": 1024}
    meter.ended(CONVERSION, "done", details=details)
    lower = {"kind": "conversion", "stage": "lower"}
    assert attempts(registry, "done") == 1
    assert registry.get_sample_value("nnlite_stage_seconds_sum", lower) == 3
    assert registry.get_sample_value("nnlite_stage_seconds_bucket", lower | {"le": "2.0"}) == 0
    assert registry.get_sample_value("nnlite_stage_seconds_bucket", lower | {"le": "4.0"}) == 1
    memory = {"kind": "conversion"}
    assert registry.get_sample_value("nnlite_attempt_peak_memory_bytes_sum", memory) == 1 << 20


def test_an_attempt_that_failed_counts_by_class_and_for_its_memory_but_not_for_its_stages(registry, meter):
    details = {"timings_ns": {"lower": 600_000_000_000}, "peak_rss_kb": 1024}
    meter.ended(CONVERSION, FAILED, FailureClass.CONVERTER, details)
    meter.ended(CONVERSION, RELEASED)
    assert (attempts(registry, "failed", "converter"), attempts(registry, "released")) == (1, 1)
    assert (
        registry.get_sample_value("nnlite_stage_seconds_count", {"kind": "conversion", "stage": "lower"})
        is None
    )
    assert registry.get_sample_value("nnlite_attempt_peak_memory_bytes_count", {"kind": "conversion"}) == 1


def test_an_attempt_runs_until_its_block_is_left_however_that_is(registry, meter):
    running = {"kind": "conversion"}
    with pytest.raises(ZeroDivisionError), meter.busy(CONVERSION):
        assert registry.get_sample_value("nnlite_attempts_running", running) == 1
        raise ZeroDivisionError
    assert registry.get_sample_value("nnlite_attempts_running", running) == 0


def test_what_cannot_be_counted_disturbs_no_work_and_counting_goes_on_when_it_can(
    registry, meter, nothing_reserved, monkeypatch, tmp_path
):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "later"))
    with meter.busy(CONVERSION):
        meter.ended(CONVERSION, "done")
        meter.heartbeat_lost(CONVERSION)
    assert attempts(registry, "done") is None
    (tmp_path / "later").mkdir()
    meter.ended(CONVERSION, "done")
    assert attempts(registry, "done") == 1


def test_files_have_all_of_their_pages_before_anything_is_counted(
    meter, nothing_reserved, monkeypatch, tmp_path
):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    meter.ready(CONVERSION, "convert")
    sizes = [(file.stat().st_blocks * 512, file.stat().st_size) for file in tmp_path.iterdir()]
    assert len(sizes) == 3
    assert all(allocated >= size > 0 for allocated, size in sizes)


def test_metrics_are_off_unless_a_port_is_named_and_cost_not_even_an_import(tmp_path):
    assert type(meter_for(Settings(home=tmp_path, _env_file=None))) is Meter
    modules = "nnlite.cli.workers, nnlite.worker.celery_worker"
    code = f"import sys, {modules}; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
