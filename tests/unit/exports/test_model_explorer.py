"""Node data of Model Explorer: milliseconds by the name of a node's output."""

from nnlite.exports.model_explorer import node_data


def test_a_node_has_the_time_of_all_its_operators():
    rows = [
        {"output": "sum", "time_ns": 2_000_000},
        {"output": "sum", "time_ns": 500_000},
        {"output": None, "time_ns": 9_000_000},
        {"output": "mean", "time_ns": 1_000_000},
    ]
    data = node_data(rows)
    assert data["results"] == {"sum": {"value": 2.5}, "mean": {"value": 1.0}}
    assert [stop["stop"] for stop in data["gradient"]] == [0, 1]
