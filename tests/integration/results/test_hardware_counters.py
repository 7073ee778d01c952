"""What phones' processors counted, in the database: by event, or why nothing was."""

from integration.canned import finish_benchmark, finish_conversion, measurement
from nnlite.reports.schema import HardwareCounters


def view(cluster, counters):
    row = cluster.conversion(cluster.submit("one", pools=("phones",), counters=20).id)["id"]
    (message,) = finish_conversion(cluster, row)
    finish_benchmark(cluster, message.row_id, measurement(counters=counters))
    return cluster.rows("SELECT model, event, per_inference, error FROM hardware_counters ORDER BY event")


def test_each_event_is_a_row(cluster):
    counts = {"cpu-cycles": 2e7, "cache-misses": 400.5}
    assert view(cluster, HardwareCounters(seconds=10, per_inference=counts)) == [
        {"model": "one", "event": "cache-misses", "per_inference": 400.5, "error": None},
        {"model": "one", "event": "cpu-cycles", "per_inference": 2e7, "error": None},
    ]


def test_without_counts_the_reason_is_a_row(cluster):
    assert view(cluster, HardwareCounters(error="no simpleperf")) == [
        {"model": "one", "event": None, "per_inference": None, "error": "no simpleperf"}
    ]
