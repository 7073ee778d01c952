"""Port pairs of emulators are exclusive, and so many emulators boot at once as may."""

import socket
import threading

import pytest

from nnlite.errors import Stopped
from nnlite.settings.groups import EmulatorSettings
from nnlite_benchmark.android.emulator.ports import BootSlot, PortPair

FIRST = EmulatorSettings().first_port


def test_workers_get_different_pairs_and_a_released_one_is_reused(tmp_path):
    first, second = PortPair.take(tmp_path, FIRST), PortPair.take(tmp_path, FIRST)
    assert (first.console % 2, first.adb) == (0, first.console + 1)
    assert second.console != first.console
    first.release()
    assert PortPair.take(tmp_path, FIRST).console == first.console


def test_pairs_are_outside_the_range_that_adb_servers_scan():
    assert FIRST > 5585


@pytest.mark.parametrize("offset", [0, 1])
def test_a_pair_with_a_used_port_is_skipped(tmp_path, offset):
    pair = PortPair.take(tmp_path, FIRST)
    pair.release()
    with socket.create_server(("127.0.0.1", pair.console + offset)):
        assert PortPair.take(tmp_path, FIRST).console > pair.console


def test_the_error_without_a_free_pair_names_the_range(tmp_path):
    taken = PortPair.take(tmp_path, FIRST)
    with pytest.raises(OSError, match=f"{taken.console} to {taken.adb}"):
        PortPair.take(tmp_path, taken.console, taken.console)


def test_no_more_emulators_boot_at_once_than_the_settings_say(tmp_path):
    booting, next_one, stop = BootSlot(tmp_path, 2), BootSlot(tmp_path, 2), threading.Event()
    other = BootSlot(tmp_path, 2)
    booting.take(stop)
    other.take(stop)
    stop.set()
    with pytest.raises(Stopped):
        next_one.take(stop)
    booting.release()
    next_one.take(stop)


def test_a_slot_is_taken_and_released_once(tmp_path):
    slot, stop = BootSlot(tmp_path, 1), threading.Event()
    for _ in range(2):
        slot.take(stop)
    for _ in range(2):
        slot.release()
    BootSlot(tmp_path, 1).take(stop)
