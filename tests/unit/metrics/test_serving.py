"""The process beside a worker that serves what all of the worker's processes count."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nnlite.metrics.serving import MetricsError, disks, listen, serving_worker
from nnlite.settings import Settings
from nnlite.settings.groups import MetricsSettings
from unit.metrics.scraping import free_port, scrape

#: A worker in small: two processes that count, one of which dies at work; then a third.
WORKER = """
import os, signal, sys
from pathlib import Path
from nnlite.queue.meter import meter_for
from nnlite.metrics.serving import serving_worker
from nnlite.settings import Settings
from nnlite.vocabulary import WorkKind

settings = Settings(_env_file=None)
with serving_worker(settings):
    meter = meter_for(settings)
    meter.ready(WorkKind.CONVERSION, "convert")
    for deadly in (False, True):
        if not os.fork():
            with meter.busy(WorkKind.CONVERSION):
                meter.ended(WorkKind.CONVERSION, "done", details={"peak_rss_kb": 5})
                if deadly:
                    os.kill(os.getpid(), signal.SIGKILL)
            os._exit(0)
        os.wait()
    print(os.environ["PROMETHEUS_MULTIPROC_DIR"], flush=True)
    sys.stdin.read()
"""


def wait_until(condition: Callable[[], bool], deadline_s: float = 20) -> None:
    limit = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def worker(port: int, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The small worker, done with its work, and the folder of its counters."""
    environment = os.environ | {"NNLITE_METRICS__PORT": str(port), "NNLITE_HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env=environment,
        stdin=-1,
        stdout=-1,
        text=True,
        start_new_session=True,
    ) as process:
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def refused(port: int) -> bool:
    try:
        scrape(port)
    except OSError:
        return True
    return False


def test_what_processes_counted_is_summed_up_and_what_a_dead_one_did_is_forgotten(worker, port):
    samples = scrape(port)
    done = 'nnlite_attempts_total{failure_class="",kind="conversion",outcome="done"}'
    assert samples[done] == 2, "the dead one's as well"
    assert samples['nnlite_attempt_peak_memory_bytes_count{kind="conversion"}'] == 2
    assert samples['nnlite_attempts_running{kind="conversion"}'] == 0
    assert samples['nnlite_worker_ready{queue="convert"}'] == 1
    assert samples['nnlite_disk_free_bytes{folder="home"}'] > 0


def test_a_worker_is_watched_while_it_stops_and_takes_its_port_and_files_along_when_it_dies(worker, port):
    process, folder = worker
    assert scrape(port)
    (serving,) = (
        int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    )
    os.kill(serving, signal.SIGTERM)  # as a supervisor that ends a whole group does
    assert scrape(port)
    assert Path(f"/proc/{serving}/environ").read_bytes() == b"", "it knows no credentials"
    process.kill()
    process.wait(10)
    wait_until(lambda: refused(port) and not folder.exists())


def test_a_worker_that_ends_in_order_leaves_nothing(worker, port):
    process, folder = worker
    process.stdin.close()
    assert process.wait(20) == 0
    assert refused(port)
    assert not folder.exists()


def test_without_a_port_nothing_is_served(tmp_path):
    with serving_worker(Settings(home=tmp_path, _env_file=None)):
        assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def test_a_port_that_is_taken_is_one_line_that_names_it(port):
    settings = MetricsSettings(port=port)
    with listen(settings), pytest.raises(MetricsError) as raised:
        listen(settings)
    assert str(raised.value) == (
        f"NNLITE_METRICS__PORT={port} on NNLITE_METRICS__ADDRESS=127.0.0.1: address already in use; "
        "name an address of this machine and a port that is free"
    )


@pytest.mark.parametrize("address", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_said_to_be_none_of_ours(port, address):
    with pytest.raises(MetricsError, match=rf"NNLITE_METRICS__ADDRESS={address}: \w"):
        listen(MetricsSettings(port=port, address=address))


@pytest.mark.parametrize(
    ("url", "folders"),
    [
        (None, {"home", "artifacts"}),
        ("/srv/artifacts", {"home", "artifacts"}),
        ("s3://lab/artifacts", {"home"}),
    ],
)
def test_disks_are_those_of_folders(tmp_path, url, folders):
    assert set(disks(Settings(home=tmp_path, artifacts_url=url, _env_file=None))) == folders
