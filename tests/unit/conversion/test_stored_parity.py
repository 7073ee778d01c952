"""The stored parity of an artifact must not contradict itself."""

import pytest

from nnlite.vocabulary import ParityState, Precision
from nnlite_conversion.pipeline.verifying.stored import contradictions

OK, OFF, UNKNOWN = ParityState.OK, ParityState.OFF, ParityState.UNKNOWN


@pytest.mark.parametrize(
    ("precision", "state", "parity"),
    [
        (Precision.FP32, OK, {"state": "ok", "relative": 1e-6, "sqnr_db": 120.0}),
        (Precision.FP32, OFF, {"state": "off", "relative": 0.5, "reason": "largest difference"}),
        (Precision.INT8, OK, {"state": "ok", "relative": 0.5, "sqnr_db": 35.0}),
        (
            Precision.INT8,
            OFF,
            {"state": "off", "sqnr_db": 35.0, "reason": "the same class is first for 10 %"},
        ),
        (Precision.FP16, UNKNOWN, {"state": "unknown", "reason": "no value is finite"}),
        (Precision.FP32, UNKNOWN, None),
    ],
)
def test_what_a_conversion_writes_does_not(precision, state, parity):
    assert [*contradictions(precision, state, parity)] == []


@pytest.mark.parametrize(
    ("precision", "state", "parity", "derived"),
    [
        (Precision.FP32, OK, {"state": "ok", "relative": 0.5}, OFF),
        (Precision.DYNAMIC, OK, {"state": "ok", "sqnr_db": 3.0}, OFF),
        (Precision.FP32, OK, {"state": "off", "relative": 1e-6, "reason": "it is"}, OFF),
        (Precision.FP32, OFF, {"state": "off", "relative": 1e-6}, OK),
        (Precision.FP32, OK, None, UNKNOWN),
    ],
)
def test_a_state_that_does_not_fit_is_found(precision, state, parity, derived):
    (found,) = contradictions(precision, state, parity)
    assert (found.field, found.stored, found.derived) == ("artifact.parity_state", state, derived)
