"""A device whose canaries change lastingly: rows measured since are re-opened, once, and users see it."""

import uuid
from typing import Any

import pytest

from integration.canned import CONTEXT, finish_benchmark, finish_conversion, measurement
from integration.conftest import Cluster
from nnlite.campaigns import control
from nnlite.cli.presenting import presentation
from nnlite.db.rows import row_id
from nnlite.reports.schema import Canary
from nnlite.results import queries
from nnlite.results.canaries import WINDOW
from nnlite.results.devices import record_ready
from nnlite.results.repeats import add_reproduction
from nnlite.settings.groups import MeasurementSettings

SETTINGS = MeasurementSettings(noisy_repeats=0, audit_share=0, repeat_pause_s=0)
FAST_NS, SLOW_NS = 25_000_000, 36_000_000


@pytest.fixture
def device(cluster: Cluster) -> uuid.UUID:
    """A device that ran 40 canaries, all fast, a day ago."""
    record_ready(cluster.engine, CONTEXT, "benchmark@here")
    cluster.change(
        """
INSERT INTO device_canary (device_id, configuration, ns, created_at)
SELECT :device, 'LiteRT 2.3.0, threads 1, cores any', :ns, now() - interval '1 day'
FROM generate_series(1, 40)
""",
        device=row_id("device", CONTEXT.name),
        ns=FAST_NS,
    )
    return row_id("device", CONTEXT.name)


def benchmark(cluster: Cluster, model: str) -> uuid.UUID:
    """The queued benchmark of a model, in a campaign of its own with that name."""
    submitted = cluster.submit(model, name=model, pools=("phones",))
    (message,) = finish_conversion(cluster, cluster.conversion(submitted.id)["id"])
    return message.row_id


def finish(cluster: Cluster, row: uuid.UUID, ns: int, *, reused: bool = False) -> None:
    canary = Canary(before_p25_ns=ns, after_p25_ns=ns, drift=0, repeated=False, reused=reused)
    finish_benchmark(cluster, row, measurement(canary=canary), settings=SETTINGS)


def changes(cluster: Cluster) -> list[dict[str, Any]]:
    return cluster.rows("SELECT * FROM device_canary_change ORDER BY change_id")


def reopened(cluster: Cluster) -> list[str]:
    rows = cluster.rows("""
SELECT c.name FROM benchmark b JOIN campaign c ON c.id = b.campaign_id
WHERE b.purpose = 'canary' AND b.state = 'queued' ORDER BY c.name
""")
    return [row["name"] for row in rows]


def test_a_canary_that_served_two_measurements_is_in_the_series_once(cluster, device):
    finish(cluster, benchmark(cluster, "one"), FAST_NS)
    finish(cluster, benchmark(cluster, "two"), FAST_NS, reused=True)
    (row,) = cluster.rows("SELECT count(*) AS canaries FROM device_canary")
    assert row["canaries"] == 40 + 2 + 1


def test_a_lasting_change_reopens_what_was_measured_since_once(cluster, device):
    finish(cluster, benchmark(cluster, "before"), FAST_NS)
    for model in "abcd":
        finish(cluster, benchmark(cluster, model), SLOW_NS)
    assert changes(cluster) == [], "two thirds of the last canaries only"
    control.cancel(cluster.engine, "b")
    finish(cluster, benchmark(cluster, "e"), SLOW_NS)
    (change,) = changes(cluster)
    assert (change["device"], change["before_ns"], change["after_ns"]) == ("lab-phone", FAST_NS, SLOW_NS)
    assert reopened(cluster) == ["a", "c", "d", "e"], "not what is cancelled, nor what was measured before"
    assert change["reopened"] == 4
    again = cluster.rows("SELECT id FROM benchmark WHERE purpose = 'canary'")
    for row in again:
        finish(cluster, row["id"], SLOW_NS)
    for number in range(WINDOW):
        finish(cluster, benchmark(cluster, f"later-{number}"), SLOW_NS, reused=True)
    assert len(changes(cluster)) == 1
    assert reopened(cluster) == []


def test_a_result_that_was_only_reproduced_since_is_not_reopened(cluster, device):
    before = benchmark(cluster, "before")
    finish(cluster, before, FAST_NS)
    with cluster.engine.begin() as connection:
        reproduction = add_reproduction(connection, before)
    finish(cluster, reproduction, SLOW_NS)
    for model in "abcd":
        finish(cluster, benchmark(cluster, model), SLOW_NS)
    assert len(changes(cluster)) == 1
    assert reopened(cluster) == [*"abcd"]


def test_a_change_is_shown_with_the_device(cluster, device):
    for model in "abcde":
        finish(cluster, benchmark(cluster, model), SLOW_NS)
    cluster.change("UPDATE device SET canary_ns = :ns, canary_at = now()", ns=SLOW_NS)
    (row,) = queries.devices(cluster.engine)
    assert (row["canary_before_ns"], row["canary_reopened"]) == (FAST_NS, 5)
    shown = presentation.device_row(row, row["canary_changed_at"])
    assert shown["canary ms"] == "36.0 (0 s ago); 25.0 until 0 s ago"
    cluster.change(
        "INSERT INTO device_canary (device_id, configuration, ns) VALUES (:device, 'LiteRT 2.4.0', :ns)",
        device=device,
        ns=FAST_NS,
    )
    (row,) = queries.devices(cluster.engine)
    assert row["canary_before_ns"] is None, "the last canary is one of another runtime"
