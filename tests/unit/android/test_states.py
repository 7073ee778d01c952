"""What adb says of a device that is not to be used."""

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
def test_each_state_is_a_fault(state, fault):
    assert fault_of_state(state) is fault


def test_a_phone_that_this_account_may_not_use_is_for_people_to_allow():
    state = "no permissions (user lab is not in the plugdev group); see [http://developer.android.com]"
    assert fault_of_state(state) is Fault.UNAUTHORIZED
    assert "udev rules" in hint_for_state(state)


def test_there_is_no_advice_on_what_nobody_knows():
    assert (hint_for_state("bootloader"), hint_for_state(None)) == (None, None)
