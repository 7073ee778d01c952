"""What the GPU delegate refuses, in its own words."""

import pytest

from nnlite.reports.schema import DelegateRefusal
from nnlite_benchmark.android.app.delegation import delegate_refusals

pytestmark = pytest.mark.fast
MESSAGES = """\
Following operations are not supported by GPU delegate:
CAST: Operation is not supported.
RESHAPE: OP is supported, but tensor type/shape isn't compatible.
TFL_Custom.Op: No registered op with this name: maybe later
31 operations will run on the GPU, and the remaining 3 operations will run on the CPU.
INFO: something else
"""


def test_each_refused_operator_has_the_delegates_reason():
    assert [(one.operator, one.reason, one.nodes) for one in delegate_refusals(MESSAGES)] == [
        ("CAST", "Operation is not supported.", None),
        ("RESHAPE", "OP is supported, but tensor type/shape isn't compatible.", None),
        ("TFL_Custom.Op", "No registered op with this name: maybe later", None),
    ]


def test_messages_that_are_cut_give_what_is_there():
    assert delegate_refusals(MESSAGES[: MESSAGES.index("type/shape")])[-1] == DelegateRefusal(
        operator="RESHAPE", reason="OP is supported, but tensor"
    )


@pytest.mark.parametrize("messages", [None, "", "Created TensorFlow Lite delegate for NNAPI.", "CAST: alone"])
def test_without_the_delegates_list_nothing_is_refused(messages):
    assert delegate_refusals(messages) == ()


def test_a_list_without_end_is_limited():
    assert len(delegate_refusals(MESSAGES.split("CAST", maxsplit=1)[0] + "CAST: no\n" * 10_000)) == 256
