"""The reaper's HTTP exporter: where it listens, and which disks it reports."""

import socket
from pathlib import Path
from urllib.error import HTTPError

import pytest
from prometheus_client import CollectorRegistry

from nnlite.errors import NnliteError
from nnlite.reaper import exporter
from nnlite.reaper.exporter import DiskCollector, disks, serving
from nnlite.settings import Settings
from nnlite.settings.groups import MetricsSettings
from unit.reaper.scraping import free_port, scrape
from waiting import HANG_S


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def registry(tmp_path: Path) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(DiskCollector({"home": tmp_path, "artifacts": tmp_path / "missing"}))
    return registry


def test_metrics_are_served_while_the_block_runs(registry, port):
    with serving(registry, MetricsSettings(port=port)):
        samples = scrape(port)
    assert (
        samples['nnlite_disk_size_bytes{folder="home"}']
        >= samples['nnlite_disk_free_bytes{folder="home"}']
        > 0
    )
    assert 'nnlite_disk_free_bytes{folder="artifacts"}' not in samples
    with pytest.raises(OSError, match="refused"):
        scrape(port)


def test_with_a_token_nobody_else_is_answered(registry, port, tmp_path):
    file = tmp_path / "token"
    file.write_text("correct horse\n")
    with serving(registry, MetricsSettings(port=port, token_file=file)):
        for token in (None, "wrong", "correct horse\u00e9"):
            with pytest.raises(HTTPError, match="401"):
                scrape(port, token)
        assert 'nnlite_disk_size_bytes{folder="home"}' in scrape(port, "correct horse")


def test_a_token_that_cannot_be_read_is_named(registry, port, tmp_path):
    missing = tmp_path / "missing"
    refused = pytest.raises(NnliteError, match=f"NNLITE_METRICS__TOKEN_FILE={missing}: No such file")
    with refused, serving(registry, MetricsSettings(port=port, token_file=missing)):
        pass


def test_a_silent_client_is_disconnected_and_delays_nobody(registry, port, monkeypatch):
    monkeypatch.setattr(exporter, "_CLIENT_TIMEOUT_S", 3)
    with (
        serving(registry, MetricsSettings(port=port)),
        socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as silent,
    ):
        assert scrape(port)
        assert silent.recv(1) == b""


def test_a_taken_port_is_reported_by_its_setting(registry, port):
    settings = MetricsSettings(port=port)
    with serving(registry, settings), pytest.raises(NnliteError) as raised, serving(registry, settings):
        pass
    assert str(raised.value) == (
        f"NNLITE_METRICS__PORT={port} on NNLITE_METRICS__ADDRESS=127.0.0.1: address already in use; "
        "name an address of this machine and a port that is free"
    )


@pytest.mark.parametrize("address", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_reported_by_its_setting(registry, port, address):
    refused = pytest.raises(NnliteError, match=rf"NNLITE_METRICS__ADDRESS={address}: \w")
    with refused, serving(registry, MetricsSettings(port=port, address=address)):
        pass


@pytest.mark.parametrize(
    ("url", "folders"),
    [
        (None, {"home", "artifacts"}),
        ("/srv/artifacts", {"home", "artifacts"}),
        ("s3://lab/artifacts", {"home"}),
    ],
)
def test_disks_are_reported_of_local_folders(tmp_path, url, folders):
    assert set(disks(Settings(home=tmp_path, artifacts_url=url, _env_file=None))) == folders
