"""The op atlas: the suite and what was converted in one table."""

import pytest

from nnlite.results import operators

TRIED = [
    {"operator": "aten.conv2d", "precision": precision, "state": state}
    for precision, state in (
        ("fp32", "ok"),
        ("fp32", "ok"),
        ("fp16", "ok"),
        ("fp16", "ok"),
        ("int8", "ok"),
        ("int8", "off"),
    )
]
CONVERTED = [
    {"operator": "aten.conv2d", "precision": "int8", "state": "ok", "models": 1200},
    {"operator": "aten.nonzero", "precision": "fp32", "state": "refused", "models": 3},
]


def test_cases_and_models_are_counted_by_operator_precision_and_state():
    rows = operators.atlas(TRIED, CONVERTED)

    assert [
        (row["operator"], row["precision"], row["state"], row["cases"], row["models"]) for row in rows
    ] == [
        ("aten.conv2d", "fp32", "ok", 2, 0),
        ("aten.conv2d", "fp16", "ok", 2, 0),
        ("aten.conv2d", "int8", "ok", 1, 1200),
        ("aten.conv2d", "int8", "off", 1, 0),
        ("aten.nonzero", "fp32", "refused", 0, 3),
    ]


def test_precisions_that_are_alike_are_one_line_for_people():
    assert operators.table(operators.atlas(TRIED, CONVERTED)) == [
        {"operator": "aten.conv2d", "precision": "fp32 fp16", "suite": "2 ok", "models": ""},
        {"operator": "aten.conv2d", "precision": "int8", "suite": "1 ok, 1 off", "models": "1,200 ok"},
        {"operator": "aten.nonzero", "precision": "fp32", "suite": "", "models": "3 refused"},
    ]


def test_the_packages_file_has_a_state_for_every_case_and_a_reason_where_it_is_not_ok():
    rows = operators.cases()

    assert {row["state"] for row in rows} <= set(operators.STATES)
    assert {row["operator"] for row in rows} >= {"aten.conv2d", "aten.softmax", "aten.relu"}
    assert [row for row in rows if row["state"] != "ok" and not row["reason"]] == []
    assert [row for row in rows if row["state"] == "wrong"] == []


@pytest.mark.parametrize("field", ["made_by", "all"])
def test_the_packages_file_says_what_made_it(field):
    assert operators.suite()[field]
