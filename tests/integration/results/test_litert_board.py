"""`nnlite export litert-board`: results of the database next to rows that others have published."""

import json

import pytest

from integration.canned import finish_benchmark, finish_conversion, measurement, queued_benchmark, with_median
from nnlite.errors import NnliteError
from nnlite.exports.lemur_tree import Choice
from nnlite.exports.litert_board import export_litert_board
from nnlite.vocabulary import DeviceKind, Verdict

OTHERS = {
    "row_id": "litert-community/MobileNet-v2:mobilenet_v2.tflite@2.2.0/macos/mac-studio-m4-max/cpu",
    "model": "litert-community/MobileNet-v2", "file": "mobilenet_v2.tflite", "task": "image-classification",
    "platform": "macos", "device_id": "mac-studio-m4-max", "device": "Mac Studio (M4 Max)",
    "accelerator": "cpu", "latency_ms": {"median": 2.053}, "runtime": "litert", "runtime_version": "2.2.0",
    "status": "measured", "date": "2026-09-18",
}  # fmt: skip


def lines(folder):
    return [json.loads(line) for line in (folder / "measurements.jsonl").read_text().splitlines()]


def test_rows_are_added_and_the_board_is_made_of_all(cluster, tmp_path):
    finish_benchmark(cluster, queued_benchmark(cluster))
    (tmp_path / "measurements.jsonl").write_text(json.dumps(OTHERS) + "\n")
    exported = export_litert_board(cluster.engine, tmp_path, Choice(campaigns=["night"]))
    assert (exported.rows, exported.measurements, exported.on_board) == (1, 2, 2)
    others, ours = lines(tmp_path)
    assert others == OTHERS
    assert ours["row_id"] == "toys/one:one_fp32.tflite@2.3.0/android/pixel-4/cpu"
    assert (ours["latency_ms"]["median"], ours["nnlite"]["verdict"]) == (1.0, "valid")
    board = json.loads((tmp_path / "board.json").read_text())
    assert board["rows"] == [ours, others]
    again = export_litert_board(cluster.engine, tmp_path, Choice())
    assert (again.rows, again.measurements) == (1, 2)


def test_of_several_results_of_a_device_the_best_verdict_and_then_the_newest_is_published(cluster, tmp_path):
    for name, median_ns, verdict in (
        ("first", 1_000_000, Verdict.VALID),
        ("second", 2_000_000, Verdict.VALID),
        ("third", 3_000_000, Verdict.NOISY),
    ):
        conversion = cluster.conversion(cluster.submit("one", name=name, pools=("phones",)).id)["id"]
        (message,) = finish_conversion(cluster, conversion)
        finish_benchmark(cluster, message.row_id, with_median(median_ns, verdict=verdict))
    export_litert_board(cluster.engine, tmp_path, Choice(verdicts=(Verdict.VALID, Verdict.NOISY)))
    (row,) = lines(tmp_path)
    assert row["latency_ms"]["median"] == 2.0


def test_what_is_not_valid_or_of_no_phone_is_published_only_on_request(cluster, tmp_path):
    finish_benchmark(cluster, queued_benchmark(cluster), measurement(verdict=Verdict.NOISY))
    with pytest.raises(
        NnliteError, match=r"\(1 phone; 1 noisy\) none fits; asked for: verdict valid, kind phone;"
    ):
        export_litert_board(cluster.engine, tmp_path, Choice())
    with pytest.raises(NnliteError, match="asked for: verdict noisy, kind host; --verdict and --kind choose"):
        choice = Choice(kinds=(DeviceKind.HOST,), verdicts=(Verdict.NOISY,))
        export_litert_board(cluster.engine, tmp_path, choice)
    assert list(tmp_path.iterdir()) == []
    assert export_litert_board(cluster.engine, tmp_path, Choice(verdicts=(Verdict.NOISY,))).rows == 1


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"row_id": "a"}'])
def test_a_file_that_is_no_board_is_left_as_it_is(line, cluster, tmp_path):
    finish_benchmark(cluster, queued_benchmark(cluster))
    file = tmp_path / "measurements.jsonl"
    file.write_text(f"{json.dumps(OTHERS)}\n{line}\n")
    with pytest.raises(NnliteError, match=r"measurements\.jsonl, line 2 is no row of the board"):
        export_litert_board(cluster.engine, tmp_path, Choice())
    assert file.read_text().endswith(f"{line}\n")
    assert list(tmp_path.iterdir()) == [file]
