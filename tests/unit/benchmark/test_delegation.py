"""Delegated nodes are counted from the graph that LiteRT lists after delegation."""

from nnlite_benchmark.host.graph_delegation import DELEGATE, Count, Node, count_delegated, undelegated


def chain(*names):
    """Nodes that each read the tensor before them and write the next."""
    return [Node(name=name, inputs=[i], outputs=[i + 1]) for i, name in enumerate(names)]


def test_nothing_is_delegated_without_a_delegate_node():
    assert undelegated(chain("CONV_2D", "MEAN", "MEAN")) == {"CONV_2D": 1, "MEAN": 2}
    assert count_delegated(chain("CONV_2D", "MEAN")) == Count(total=2, delegated=0, groups=0)


def test_one_group_can_have_all_nodes():
    nodes = [*chain("CONV_2D", "ADD", "MEAN"), Node(name=DELEGATE, inputs=[0], outputs=[3])]

    assert count_delegated(nodes) == Count(total=3, delegated=3, groups=1)


def test_nodes_between_two_groups_are_not_delegated():
    nodes = [
        *chain("CONV_2D", "CONV_2D", "CUMSUM", "MEAN"),
        Node(name=DELEGATE, inputs=[0], outputs=[2]),
        Node(name=DELEGATE, inputs=[3], outputs=[4]),
    ]

    assert count_delegated(nodes) == Count(total=4, delegated=3, groups=2)
    assert undelegated(nodes) == {"CUMSUM": 1}


def test_branches_inside_a_group_are_counted_once():
    nodes = [
        Node(name="CONV_2D", inputs=[0], outputs=[1]),
        Node(name="RELU", inputs=[1], outputs=[2]),
        Node(name="TANH", inputs=[1], outputs=[3]),
        Node(name="ADD", inputs=[2, 3], outputs=[4]),
        Node(name=DELEGATE, inputs=[0], outputs=[4]),
    ]

    assert count_delegated(nodes) == Count(total=4, delegated=4, groups=1)
