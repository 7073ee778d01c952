"""Comparing a graph with its artifact, operator by operator, on traces made by hand."""

import numpy as np
import pytest

from nnlite.vocabulary import Precision, StepState
from nnlite_conversion.pipeline.explaining.artifact_trace import ArtifactStep
from nnlite_conversion.pipeline.explaining.departure import compare, compare_quantized, first_departure
from nnlite_conversion.pipeline.explaining.graph_trace import GraphStep
from nnlite_conversion.pipeline.lowering.debug_names import node_names
from nnlite_conversion.pipeline.verifying.comparison import MAX_SQNR_DB

IMAGE = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)


def step(name: str, value: np.ndarray, *inputs: str) -> GraphStep:
    return GraphStep(name=name, operator=f"aten.{name}", module="body", line=None, inputs=inputs, value=value)


def result(value: np.ndarray, *nodes: str, tensor: str = "t") -> ArtifactStep:
    return ArtifactStep(operator="OP", tensor=tensor, nodes=nodes, value=value)


def test_an_operator_is_fused_into_the_last_node_that_its_tensor_names():
    graph = [step("conv2d", IMAGE), step("relu", IMAGE * 2, "conv2d")]

    rows = compare(graph, [result(IMAGE * 2, "relu", "conv2d")])

    assert [row.state for row in rows] == [StepState.FUSED, StepState.RIGHT]


def test_a_result_in_another_layout_is_the_same_result():
    graph = [step("conv2d", IMAGE), step("flatten", IMAGE.reshape(1, 24), "conv2d")]
    artifact = [result(IMAGE.transpose(0, 2, 3, 1), "conv2d"), result(IMAGE.reshape(24), "flatten")]

    rows = compare(graph, artifact)

    assert [(row.state, row.sqnr_db) for row in rows] == [(StepState.RIGHT, MAX_SQNR_DB)] * 2


def test_the_first_result_beyond_the_limit_is_where_the_artifact_departs():
    graph = [step("a", IMAGE), step("b", IMAGE + 1, "a"), step("c", IMAGE + 2, "b")]
    artifact = [result(IMAGE, "a"), result(IMAGE * 1.1, "b"), result(IMAGE * 1.2, "c")]

    rows = compare(graph, artifact)

    assert first_departure(rows) == 1
    assert [row.state for row in rows] == [StepState.RIGHT, StepState.DEPARTS, StepState.DEPARTS]
    assert first_departure(rows[:1]) is None


def test_an_intermediate_result_of_what_is_right_later_is_fused():
    """Such as relu6(x + 3) of a hardsigmoid, whose division is part of the next product."""
    graph = [step("a", IMAGE), step("hardsigmoid", IMAGE / 6, "a"), step("mul", IMAGE / 3, "hardsigmoid")]
    artifact = [result(IMAGE, "a"), result(IMAGE, "hardsigmoid"), result(IMAGE / 3, "mul", "hardsigmoid")]

    assert [row.state for row in compare(graph, artifact)] == [
        StepState.RIGHT,
        StepState.FUSED,
        StepState.RIGHT,
    ]


def test_what_a_quantized_operator_loses_leaves_out_the_noise_of_its_inputs():
    noise = np.where(np.arange(24).reshape(IMAGE.shape) % 2, 1, -1)
    graph = [step("a", IMAGE), step("fused", IMAGE, "a"), step("b", IMAGE, "fused")]
    fp32 = compare(graph, [result(IMAGE, "a", tensor="a;"), result(IMAGE, "b", tensor="b;1")])
    quantized = [result(IMAGE + 0.5 * noise, tensor="a;"), result(IMAGE + 2 * noise, tensor="b;1")]

    first, fused, last = compare_quantized(graph, fp32, quantized, Precision.DYNAMIC)

    power = float((IMAGE**2).mean())
    assert first.own_sqnr_db == pytest.approx(first.sqnr_db) == pytest.approx(10 * np.log10(power / 0.25))
    assert last.sqnr_db == pytest.approx(10 * np.log10(power / 4))
    assert last.own_sqnr_db == pytest.approx(10 * np.log10(power / 3.75))
    assert [first.state, fused.state, last.state] == [StepState.RIGHT, StepState.FUSED, StepState.DEPARTS]


def test_nan_in_the_artifact_alone_departs():
    broken = IMAGE.copy()
    broken[0, 0, 0, 0] = np.nan

    (row,) = compare([step("a", IMAGE)], [result(broken, "a")])

    assert (row.state, row.sqnr_db) == (StepState.DEPARTS, -MAX_SQNR_DB)
    assert "NaN" in row.reason


def test_a_part_of_another_scale_is_judged_by_itself():
    """Scores next to boxes in pixels, as parity judges them."""
    boxes, scores = np.linspace(0, 640, 80).reshape(4, 20), np.linspace(0, 1, 40).reshape(2, 20)
    together = np.concatenate([boxes, scores]).astype(np.float32)
    lost = np.concatenate([boxes, np.zeros_like(scores)]).astype(np.float32)
    graph = [step("cat", together)]
    fp32 = compare(graph, [result(together, "cat", tensor="cat;")])

    (row,) = compare_quantized(graph, fp32, [result(lost, tensor="cat;")], Precision.INT8)

    assert row.sqnr_db > 50 and row.state is StepState.DEPARTS and row.reason.startswith("axis 0 index")


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("conv2d;", ("conv2d",)),
        ("batch_norm;;conv2d;2", ("batch_norm", "conv2d")),
        ("serving_default_output_0_output", ()),
        ("arith.constant4", ()),
    ],
)
def test_a_tensor_name_lists_the_nodes_it_comes_from(name, nodes):
    assert node_names(name) == nodes
