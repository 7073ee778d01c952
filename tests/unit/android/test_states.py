"""Device states of the adb server map to faults and hints."""

import pytest

from nnlite.vocabulary import Fault
from nnlite_benchmark.android.adb.states import fault_of_state, hint_for_state


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        (None, Fault.DISCONNECTED),
        ("offline", Fault.OFFLINE),
        ("authorizing", Fault.UNAUTHORIZED),
        ("unauthorized", Fault.UNAUTHORIZED),
        ("recovery", Fault.OFFLINE),
        ("", Fault.OFFLINE),
    ],
)
def test_each_state_maps_to_a_fault(state, fault):
    assert fault_of_state(state) is fault


def test_missing_permissions_are_unauthorized_with_a_hint():
    state = "no permissions (user lab is not in the plugdev group); see [http://developer.android.com]"
    assert fault_of_state(state) is Fault.UNAUTHORIZED
    assert "udev rules" in hint_for_state(state)


@pytest.mark.parametrize(
    ("state", "hint"),
    [
        ("recovery", "Reboot system now"),
        ("sideload", "adb reboot"),
        ("rescue", "Reboot system now"),
        ("bootloader", "fastboot reboot"),
        ("authorizing", "accept this host's key"),
    ],
)
def test_a_phone_that_has_not_started_android_is_offline_with_a_way_out(state, hint):
    assert hint in hint_for_state(state)


def test_unknown_states_have_no_hint():
    assert (hint_for_state("host"), hint_for_state(None)) == (None, None)
