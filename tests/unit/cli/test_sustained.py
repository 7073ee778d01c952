"""How a pass of continuous inference reads: first level, plateau, and after how long it is slower."""

import pytest

from nnlite.cli.sustained import sustained_row

ROW = {
    "seconds": 300, "first_level_ns": 20_000_000, "plateau_ns": 27_000_000, "slower_after_ns": 64_400_000_000,
    "error": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({}, (300, "20.0", "27.0", "+35%", 64, "")),
        ({"plateau_ns": 20_000_000, "slower_after_ns": None}, (300, "20.0", "20.0", "+0%", None, "")),
        (
            {"first_level_ns": None, "plateau_ns": None, "slower_after_ns": None, "error": "the app crashed"},
            (300, None, None, None, None, "the app crashed"),
        ),
    ],
)
def test_a_pass_is_one_line_in_peoples_units(change, shown):
    row = sustained_row(ROW | change)
    columns = ("s", "first ms", "plateau ms", "change", "slower after s", "error")
    assert tuple(row[column] for column in columns) == shown
