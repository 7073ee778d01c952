"""How a profile reads: what it is of, and how much of an inference its operators are."""

from nnlite.cli.profile import profile_row, title

ROW = {
    "model": "BagNet", "precision": "fp32", "device": "host-lab", "backend": "cpu", "threads": 2,
    "inference_ns": 5_000_000, "median_ns": 4_800_000, "time_ns": 2_400_000, "share": 0.5,
    "name": "Add (ND)", "type": "ADD",
}  # fmt: skip


def test_the_title_compares_the_operators_with_the_inference():
    assert title([ROW, ROW]) == (
        "BagNet fp32 on host-lab cpu 2 threads: 5.000 ms with the profiler, 4.800 ms without; "
        "operators are 96% of it"
    )


def test_an_operator_is_one_line_in_peoples_units():
    row = profile_row(ROW)
    assert (row["operator"], row["type"], row["ms"], row["share"]) == ("Add (ND)", "ADD", "2.400", "50.0%")
