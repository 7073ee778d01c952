"""The operator suite in a small size: results of cases, of one that crashes too, and what is made of them."""

import ast

import orjson
import pytest

from atlas import writing
from atlas.case import case
from atlas.cases import CASES
from atlas.suite import kept_results, run_suite
from nnlite.vocabulary import Precision

SOME = (Precision.FP32, Precision.INT8)
SAMPLE = (
    CASES["add x + 1.5"],
    CASES["integers x + y, int32"],
    case("abort", "__import__('os').abort()", (3, 8), variant="at once"),
    CASES["nonzero torch.nonzero(x > 0)"],
)


@pytest.fixture(scope="module")
def results():
    """Results of the sample by case, as they are kept."""
    kept = []
    run_suite(SAMPLE, SOME, on_result=kept.append)
    return {result["case"]: result for result in map(orjson.loads, map(orjson.dumps, kept))}


def test_each_case_is_right_or_refused_with_a_reason(results):
    states = {name: [of["state"] for of in result["precisions"].values()] for name, result in results.items()}
    assert states == {
        "add x + 1.5": ["ok", "ok"],
        "integers x + y, int32": ["ok", "ok"],  # the largest one, too
        "abort at once": ["refused", "refused"],
        "nonzero torch.nonzero(x > 0)": ["refused", "refused"],
    }
    by_value = results["nonzero torch.nonzero(x > 0)"]["precisions"]["fp32"]
    assert "depends on the input's values" in by_value["reason"] and by_value["failure_class"] == "model"


def test_a_case_that_ends_its_process_is_converted_in_a_sandbox_and_the_others_go_on(results):
    crashed = results["abort at once"]["precisions"]["fp32"]
    assert (crashed["failure_class"], "SIGABRT" in crashed["reason"]) == ("model", True)


def test_results_are_a_file_of_the_package_and_a_page(results, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "FILE", tmp_path / "suite.json")
    monkeypatch.setattr(writing, "PAGE", tmp_path / "operators.md")
    writing.write([*results.values()], 4, "torch 2, litert-torch 1, a 1, b 1, nnlite 1")

    content = orjson.loads((tmp_path / "suite.json").read_bytes())
    assert (content["made_by"], content["all"], len(content["cases"])) == (
        "torch 2, litert-torch 1, a 1, b 1, nnlite 1", 4, 4,
    )  # fmt: skip
    page = (tmp_path / "operators.md").read_text()
    assert "| `aten.add` | fp32 int8 | 1 ok |" in page
    assert "## Refused" in page and "## Wrong" not in page


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    (tmp_path / "results.jsonl").write_bytes(b'{"case": "a"}\n{"case": "b"')
    assert list(kept_results(tmp_path / "results.jsonl")) == [{"case": "a"}]


def test_the_suite_has_hundreds_of_combinations_of_valid_code():
    assert len(CASES) >= 400
    for each in CASES.values():
        ast.parse(each.code)


def test_the_committed_page_and_file_are_of_one_run():
    content = orjson.loads(writing.FILE.read_bytes())
    assert writing.page(content["cases"], content["all"], content["made_by"]) == writing.PAGE.read_text()
