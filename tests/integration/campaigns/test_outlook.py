"""Why a campaign does not go on: workers that are missing, devices that take no work, campaigns before it."""

from integration.conftest import Cluster
from nnlite.campaigns import control
from nnlite.campaigns.checks import absent_backends, absent_pools
from nnlite.campaigns.outlook import outlook
from nnlite.campaigns.request import Request
from nnlite.cli.presenting.waiting import lines, lines_for
from nnlite.host.processes import ProcessIdentity
from nnlite.local.daemon import LocalProcess
from nnlite.results.devices import record_device_state
from nnlite.vocabulary import HOST_POOL, Backend, DeviceKind, DeviceStatus

SERVED = {"convert", "benchmark.host"}


def obstacles(cluster: Cluster, served=SERVED) -> list[str]:
    return list(outlook(cluster.engine, "night", served).obstacles)


def device(cluster: Cluster, name: str, pool: str, state: DeviceStatus, reason: str | None = None) -> None:
    record_device_state(cluster.engine, name, DeviceKind.HOST, pool, state, owner_node=None, reason=reason)


def test_where_all_queues_are_served_nothing_is_in_the_way(cluster: Cluster) -> None:
    cluster.submit("one", name="night", pools=(HOST_POOL,))
    assert obstacles(cluster) == []


def test_without_a_converter_that_is_said(cluster: Cluster) -> None:
    cluster.submit("one", name="night", pools=(HOST_POOL,))
    assert obstacles(cluster, {"benchmark.host"}) == [
        "no conversion worker runs: start one with `nnlite worker convert`, unless one is starting"
    ]


def test_an_unknown_pool_is_said_with_the_known_ones(cluster: Cluster) -> None:
    device(cluster, "host-lab", HOST_POOL, DeviceStatus.READY)
    cluster.submit("one", name="night", pools=("pixle6",))
    assert obstacles(cluster) == [
        "no worker serves pool pixle6, which never had a device; known pools are host; "
        "start one: `nnlite worker benchmark --pool pixle6 --device ...`"
    ]


def test_a_quarantined_device_is_said_with_the_way_out(cluster: Cluster) -> None:
    device(cluster, "usb:1", "pixel6", DeviceStatus.QUARANTINED, "does not boot")
    cluster.submit("one", name="night", pools=("pixel6",))
    assert obstacles(cluster) == [
        "usb:1 of pool pixel6 is quarantined (does not boot); nnlite devices release usb:1"
    ]


def test_a_paused_campaign_is_said_and_a_cancelled_one_waits_for_nothing(cluster: Cluster) -> None:
    cluster.submit("one", name="night")
    control.pause(cluster.engine, "night")
    assert obstacles(cluster, ()) == ["it is paused; nnlite resume night"]
    control.resume(cluster.engine, cluster.broker, "night")
    control.cancel(cluster.engine, "night")
    assert obstacles(cluster, ()) == []


def test_models_of_earlier_and_more_urgent_campaigns_come_first(cluster: Cluster) -> None:
    cluster.submit("one", "two", name="before")
    cluster.submit("three", name="night")
    cluster.submit("four", name="later")
    cluster.submit("five", name="urgent", priority=9)
    assert outlook(cluster.engine, "night", SERVED).ahead == 3
    assert lines(outlook(cluster.engine, "night", SERVED)) == ["3 models of other campaigns come first"]
    cluster.change("UPDATE conversion SET state = 'done', finished_at = now() WHERE campaign_id IN "
                   "(SELECT id FROM campaign WHERE name IN ('before', 'later'))")  # fmt: skip
    known = outlook(cluster.engine, "night", SERVED)
    assert (known.ahead, known.seconds) == (1, 400)
    assert lines(known) == ["1 model of other campaigns comes first; about 7 min until this one is converted"]
    # Whatever workers did that have ended since.
    assert lines(outlook(cluster.engine, "night", ["benchmark.host"])) == [
        "waiting: no conversion worker runs: start one with `nnlite worker convert`, unless one is starting",
        "1 model of other campaigns comes first",
    ]


def test_no_worker_answers_where_none_runs(cluster: Cluster) -> None:
    assert cluster.broker.served_queues() == frozenset()


def test_workers_of_the_home_that_start_are_no_missing_workers(cluster, tmp_path, monkeypatch):
    cluster.submit("one", name="night")
    assert "no conversion worker runs" in lines_for(cluster.engine, "night", (), tmp_path)[0]
    convert = LocalProcess(name="convert", kind="worker", identity=ProcessIdentity(pid=1, started=""))
    monkeypatch.setattr("nnlite.local.daemon.running", lambda home: [convert])
    (line,) = lines_for(cluster.engine, "night", (), tmp_path)
    assert line.startswith("waiting: the workers start")
    (line,) = lines_for(cluster.engine, "night", ("convert",), tmp_path)
    assert "no worker serves pool" in line


def test_a_backend_that_no_known_device_of_a_pool_has_is_a_warning(cluster: Cluster) -> None:
    request = Request(pools=(HOST_POOL, "lab"), backends=(Backend.CPU, Backend.NPU))
    of_hosts = "pool host has no device for --backend npu: results there will be invalid"
    assert absent_backends(cluster.engine, request) == [of_hosts], "nothing is known of the other pool"
    device(cluster, "host-lab", "lab", DeviceStatus.READY)
    of_lab = "pool lab has no device for --backend npu: results there will be invalid"
    assert absent_backends(cluster.engine, request) == [of_hosts, f"{of_lab}, unless another device joins it"]
    record_device_state(cluster.engine, "usb:1", DeviceKind.PHONE, "lab", DeviceStatus.READY, owner_node=None)
    assert absent_backends(cluster.engine, request) == [of_hosts]


def test_a_pool_without_devices_is_named_with_the_pools_that_have_some(cluster: Cluster) -> None:
    waits = "Until a device joins it, nothing is measured there"
    request = Request(pools=("host", "pixl6"))
    assert absent_pools(cluster.engine, request) == [f"no pool 'pixl6'; no pool was ever seen. {waits}"]
    device(cluster, "pixel6-a", "pixel6", DeviceStatus.READY)
    assert absent_pools(cluster.engine, request) == [f"no pool 'pixl6'; did you mean pixel6? {waits}"]
    assert absent_pools(cluster.engine, Request(pools=("pixel6", "host"))) == []
