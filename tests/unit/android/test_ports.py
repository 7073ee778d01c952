"""Port pairs of emulators are exclusive, and their starts are staggered."""

import socket
import time

import pytest

from nnlite.settings.groups import EmulatorSettings
from nnlite_benchmark.android.emulator.ports import FIRST_PORT, PortPair, stagger


def test_workers_get_different_pairs_and_a_released_one_is_reused(tmp_path):
    first, second = PortPair.take(tmp_path), PortPair.take(tmp_path)
    assert (first.console % 2, first.adb) == (0, first.console + 1)
    assert second.console != first.console
    first.release()
    assert PortPair.take(tmp_path).console == first.console


def test_pairs_are_outside_the_range_that_adb_servers_scan():
    assert FIRST_PORT == EmulatorSettings().first_port > 5585


@pytest.mark.parametrize("offset", [0, 1])
def test_a_pair_with_a_used_port_is_skipped(tmp_path, offset):
    pair = PortPair.take(tmp_path)
    pair.release()
    with socket.create_server(("127.0.0.1", pair.console + offset)):
        assert PortPair.take(tmp_path).console > pair.console


def test_the_error_without_a_free_pair_names_the_range(tmp_path):
    taken = PortPair.take(tmp_path)
    with pytest.raises(OSError, match=f"{taken.console} to {taken.adb}"):
        PortPair.take(tmp_path, taken.console, taken.console)


def test_starts_are_staggered(tmp_path):
    waits = [stagger(tmp_path / "last", 15) for _ in range(3)]
    assert waits[0] == 0
    assert waits[1:] == pytest.approx([15, 30], abs=1)


@pytest.mark.parametrize(
    "written", ["", "nonsense", str(time.monotonic() + 1e9)], ids=["empty", "nonsense", "far future"]
)
def test_an_invalid_start_time_is_ignored(tmp_path, written):
    (tmp_path / "last").write_text(written)
    assert stagger(tmp_path / "last", 15) == 0
