"""The script that measures what a lab stores (docs/operate/housekeeping.md)."""

import pytest

from integration.canned import finish_benchmark, finish_conversion
from storage import storage, table


def test_the_bytes_of_models_and_measurements_are_counted(cluster):
    (message,) = finish_conversion(cluster, cluster.conversion(cluster.submit("one").id)["id"])
    finish_benchmark(cluster, message.row_id)
    with cluster.engine.connect() as connection:
        measured = storage(connection, cluster.settings)
    assert (measured.models, measured.artifacts, measured.measurements) == (1, 1, 1)
    for name in ("model", "code", "conversion", "artifact", "benchmark", "measurement", "attempt"):
        assert measured.row_bytes[name] > 0, name
    assert measured.row_bytes["operator_time"] == 0
    assert table(measured).count("\n") == 8


def test_an_empty_lab_has_no_figures(cluster):
    with cluster.engine.connect() as connection, pytest.raises(SystemExit, match="no measurement yet"):
        storage(connection, cluster.settings)
