"""The statements of docs/guides/querying.md: each runs, and says what its question asks."""

import re
from pathlib import Path

import pytest

from integration.canned import finish_benchmark, finish_conversion, with_median
from nnlite.vocabulary import Backend

GUIDE = Path(__file__).parents[3] / "docs/guides/querying.md"
#: By the sentence in front of it.
STATEMENTS = {
    question.replace("\n", " "): statement
    for question, statement in re.findall(
        r"([^\n.]*(?:\n[^\n.]+)*\?)\n\n```sql\n(.*?)```", GUIDE.read_text(), re.S
    )
}


def test_every_statement_of_the_guide_has_its_question():
    assert len(STATEMENTS) == GUIDE.read_text().count("```sql") >= 4


@pytest.mark.parametrize("question", STATEMENTS)
def test_a_statement_runs(question, cluster):
    assert cluster.rows(STATEMENTS[question].rstrip("; \n")) == []


def test_which_runtime_is_fastest_for_a_family(cluster):
    for model, medians in {"Res-a": (1, 4), "Res-b": (9, 4), "Bag": (2, 3)}.items():
        asked = {"pools": ("phones",), "backends": (Backend.CPU, Backend.ONNXRUNTIME)}
        row = cluster.conversion(cluster.submit(model, name=f"of {model}", **asked).id)["id"]
        (message,) = finish_conversion(cluster, row)
        on_cpu, on_onnx = (median * 1_000_000 for median in medians)
        finish_benchmark(
            cluster,
            message.row_id,
            with_median(on_cpu, threads=1),
            with_median(on_onnx, backend=Backend.ONNXRUNTIME, threads=1),
        )
    (statement,) = (text for question, text in STATEMENTS.items() if "runtime is fastest" in question)
    rows = cluster.rows(statement.rstrip("; \n"))
    found = {
        (row["family"], row["backend"]): (row["models"], row["fastest"], float(row["mean_ms"]))
        for row in rows
    }
    assert found == {
        ("Bag", "cpu"): (1, 1, 2.0), ("Bag", "onnxruntime"): (1, 0, 3.0),
        ("Res", "cpu"): (2, 1, 3.0), ("Res", "onnxruntime"): (2, 1, 4.0),
    }  # fmt: skip
    assert [row["backend"] for row in rows if row["family"] == "Res"] == ["cpu", "onnxruntime"]
