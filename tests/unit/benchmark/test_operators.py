"""Operators that XNNPACK ran are told apart and aligned with the nodes of the artifact."""

import pytest

from nnlite_benchmark.host.graph_delegation import DELEGATE, Node
from nnlite_benchmark.host.operators import Event, Operator, ProfileError, computes, inference_of, with_nodes
from nnlite_benchmark.host.profiler import summary


def event(tag, type=8, time_us=1, index=0, subgraph=0):
    return Event(tag=tag, type=type, time_us=time_us, index=index, subgraph=subgraph)


def chain(*names):
    """Nodes that each read the tensor before them and write the next."""
    return [Node(name=name, inputs=[i], outputs=[i + 1]) for i, name in enumerate(names)]


def ran(*names):
    return [Operator(name=name, delegate="XNNPACK", index=index) for index, name in enumerate(names)]


def nodes_of(names, graph):
    """The nodes of operators that ran for a graph of one delegated group."""
    delegate = Node(name=DELEGATE, inputs=[0], outputs=[len(graph)])
    return [operator.node for operator in with_nodes(ran(*names), [*graph, delegate])]


def test_an_inference_has_its_whole_time_and_its_operators():
    inference = inference_of([
        event("LiteRT::Run[buffer registration]", 1, 115),
        event("invoke", 16, 48276),
        event("Invoke", 1, 40),
        event("Convolution (NHWC, F32) IGEMM", time_us=30),
        event("PADV2", 2, 5, index=2),
        event("Invoke", 32, 4294967296),
    ])  # fmt: skip
    assert (inference.time_us, inference.times_us) == (40, (30, 5))
    convolution, pad = inference.operators
    assert (convolution.delegate, convolution.node) == ("XNNPACK", None)
    assert (pad.delegate, pad.node) == (None, 2)


def test_events_without_the_whole_inference_are_incomplete():
    with pytest.raises(ProfileError, match="the profiler has 0 inferences after one; it lost events"):
        inference_of([event("Add (ND)")])


def test_an_artifact_with_control_flow_is_not_profiled():
    with pytest.raises(ProfileError, match="control flow"):
        inference_of([event("Invoke", 1), event("WHILE", 2), event("ADD", 2, subgraph=1)])


def test_an_activation_belongs_to_the_node_it_completes():
    names = ["Convolution (NHWC, F32) IGEMM", "Add (ND)", "Clamp (NC)", "Fully Connected (NC, F32) GEMM"]
    assert nodes_of(names, chain("CONV_2D", "ADD", "FULLY_CONNECTED")) == [0, 1, 1, 2]


def test_a_dynamic_quantization_belongs_to_the_node_it_prepares():
    names = ["Constant Pad (ND, X32)", "Convert (NC, F32, QDU8)", "Convolution (NHWC, QDU8, F32, QC8W) IGEMM"]
    assert nodes_of(names, chain("PAD", "CONV_2D")) == [0, 1, 1]


def test_fused_nodes_have_no_operator():
    names = ["Convert (NC)", "Convolution (NHWC, QC8) IGEMM", "Invalid Unary Op", "Convert (NC)"]
    graph = chain("QUANTIZE", "PAD", "CONV_2D", "LOGISTIC", "MUL", "DEQUANTIZE")
    assert nodes_of(names, graph) == [0, 2, 3, 5]


def test_an_operator_that_fits_no_node_has_none():
    assert nodes_of(["Add (ND)", "Of another version"], chain("ADD", "MUL")) == [0, None]


def test_groups_are_aligned_by_themselves():
    graph = [*chain("CONV_2D", "CUMSUM", "CONV_2D"), Node(name=DELEGATE, inputs=[0], outputs=[1]),
             Node(name=DELEGATE, inputs=[2], outputs=[3])]  # fmt: skip
    convolution = ran("Convolution (NHWC, F32) IGEMM")
    cumsum = Operator(name="CUMSUM", delegate=None, index=1, node=1)
    found = with_nodes([*convolution, cumsum, *convolution], graph)
    assert [operator.node for operator in found] == [0, 1, 2]
    found = with_nodes([*convolution, cumsum], graph)
    assert [operator.node for operator in found] == [None, 1], "delegated in another way"


def test_names_of_xnnpack_are_those_of_nodes_or_in_the_table():
    assert computes("Resize Bilinear", "RESIZE_BILINEAR") and computes("Softmax", "SOFTMAX")
    assert computes("Fully Connected", "CONV_2D"), "of 1 x 1"
    assert not computes("Add", "MUL")


def test_a_profile_is_the_mean_of_the_faster_half():
    def inference(time_us, *times_us):
        operators = zip(("Convolution (NHWC, F32) IGEMM", "Mean (ND)"), times_us, strict=True)
        events = [event(name, time_us=each, index=index) for index, (name, each) in enumerate(operators)]
        return inference_of([event("Invoke", 1, time_us), *events])

    graph = [*chain("CONV_2D", "MEAN"), Node(name=DELEGATE, inputs=[0], outputs=[2])]
    inferences = [inference(900, 800, 50), inference(110, 81, 20), inference(100, 80, 10)]
    profile = summary(inferences, graph, ["conv", "mean"])
    assert (profile["runs"], profile["inference_ns"]) == (2, 105_000)
    convolution, mean = profile["operators"]
    assert (convolution["time_ns"], mean["time_ns"]) == (80_500, 15_000)
    assert (convolution["type"], convolution["output"], convolution["node"]) == ("CONV_2D", "conv", 0)
    assert convolution["share"] == pytest.approx(80.5 / 95.5)
    with pytest.raises(ProfileError, match="differ from inference to inference"):
        summary([*inferences, inference_of([event("Invoke", 1)])], graph, ["conv", "mean"])
