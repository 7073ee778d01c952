"""The Celery worker runs repeatedly in one process: nothing leaks, and a stop always ends it."""

import subprocess
import sys
from pathlib import Path

from integration.conftest import Cluster
from waiting import HANG_S

PROGRAMS = Path(__file__).parent / "programs"


def last_line(program: str, *arguments: object) -> str:
    ran = subprocess.run(
        [sys.executable, PROGRAMS / program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert ran.stdout, ran.stderr[-3000:]
    return ran.stdout.splitlines()[-1]


def test_running_ten_times_in_one_process_leaks_nothing_and_a_stop_ends_it(cluster: Cluster) -> None:
    times = 10
    said = last_line("consume_repeatedly.py", cluster.settings.broker_url, times)
    assert said == f"[true, true, {[0] * (times + 2)}]"


def test_the_health_file_is_touched_from_the_loop_itself(cluster: Cluster) -> None:
    assert last_line("touch_health_file.py", cluster.settings.broker_url) == "[true, [0]]"


def test_a_worker_reconnects_when_the_broker_is_lost_during_a_task() -> None:
    assert last_line("lose_broker.py") == "[0, 0]"
