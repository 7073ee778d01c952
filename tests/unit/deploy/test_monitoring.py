"""Dashboard and alerts use metrics that the reaper exports; Prometheus scrapes what compose runs."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
import yaml
from prometheus_client import CollectorRegistry

from nnlite.db.engine import engine_for
from nnlite.queue.messages import BrokerClient
from nnlite.reaper.cluster_metrics import ClusterCollector, ReaperCollector
from nnlite.reaper.exporter import DiskCollector
from nnlite.reaper.reaper import Reaper
from nnlite.settings import Settings
from nnlite.vocabulary import DeviceStatus

CHECKOUT = Path(__file__).parents[3]
MONITORING = CHECKOUT / "deploy" / "monitoring"
DASHBOARD = MONITORING / "grafana" / "dashboards" / "nnlite.json"

#: Labels that Prometheus adds.
TARGET_LABELS = {"job", "instance", "service"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Labels by name of every series that the reaper exports."""
    registry = CollectorRegistry()
    home = tmp_path_factory.mktemp("home")
    engine, broker = engine_for("postgresql://nobody@127.0.0.1:1/none"), create_autospec(BrokerClient)
    registry.register(ReaperCollector(Reaper(engine, broker, Settings(home=home, _env_file=None))))
    registry.register(DiskCollector({"home": home}))
    names = {sample.name: set(sample.labels) for family in registry.collect() for sample in family.samples}
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    for family in ClusterCollector(engine, broker, 1).describe():
        for suffix in suffixes.get(family.type, [""]):
            names[family.name + suffix] = set(family._labelnames) | ({"le"} if suffix == "_bucket" else set())
    return names | {"up": set()}


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.load((MONITORING / "alerts.yml").read_text(), Loader=yaml.CSafeLoader)["groups"]
    return group["rules"]


def panels() -> list[dict[str, Any]]:
    return json.loads(DASHBOARD.read_text())["panels"]


def expressions() -> Iterator[Any]:
    for rule in alerts():
        yield pytest.param(rule["expr"], id=rule["alert"])
    for panel in panels():
        for target in panel.get("targets", ()):
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")


@pytest.mark.parametrize("expression", tuple(expressions()))
def test_every_expression_uses_exported_metrics(exported, expression):
    used = re.findall(r"\b(nnlite_\w+|up)\b(?:\{([^}]*)\})?", expression)
    assert used
    for name, matchers in used:
        assert name in exported
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert labels <= exported[name] | TARGET_LABELS
    grouped = {
        label for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in labels.split(", ")
    }
    assert grouped <= {label for name, _ in used for label in exported[name]} | TARGET_LABELS


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_has_a_summary_and_a_row_in_the_guide(rule):
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert rule["annotations"]["summary"]
    assert f"`{rule['alert']}`" in (MONITORING.parent / "monitoring.md").read_text()


def test_every_metric_is_in_the_guide(exported):
    guide = (MONITORING.parent / "monitoring.md").read_text()
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in exported} - {"up"}
    assert [name for name in sorted(shown) if f"`{name}`" not in guide] == []


def test_the_dashboard_shows_every_device_state():
    (timeline,) = (panel for panel in panels() if panel["type"] == "state-timeline")
    asked = re.findall(
        r'(\d) \* max by \(device\) \(nnlite_device_state\{state="(\w+)"\}\)', timeline["targets"][0]["expr"]
    )
    (mapping,) = timeline["fieldConfig"]["defaults"]["mappings"]
    shown = {number: value["text"].replace(" ", "_") for number, value in mapping["options"].items()}
    assert dict(asked) == shown
    assert sorted(shown.values()) == sorted(DeviceStatus)


def test_panels_have_unique_ids_and_do_not_overlap():
    assert len({panel["id"] for panel in panels()}) == len(panels())
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels())
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_compose_mounts_the_data_source_and_the_dashboard_where_grafana_looks():
    provisioning = MONITORING / "grafana" / "provisioning"
    (source,) = yaml.load(
        (provisioning / "datasources" / "prometheus.yml").read_text(), Loader=yaml.CSafeLoader
    )["datasources"]
    (provider,) = yaml.load(
        (provisioning / "dashboards" / "nnlite.yml").read_text(), Loader=yaml.CSafeLoader
    )["providers"]
    compose = yaml.load((CHECKOUT / "docker-compose.yml").read_text(), Loader=yaml.CSafeLoader)
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])
    assert mounts["./deploy/monitoring/grafana/dashboards"] == provider["options"]["path"]
    assert source["url"] == "http://prometheus:9090"
    (variable,) = json.loads(DASHBOARD.read_text())["templating"]["list"]
    assert variable["current"]["value"] == source["uid"]


def test_prometheus_scrapes_the_reaper_of_compose():
    (job,) = yaml.load((MONITORING / "prometheus.yml").read_text(), Loader=yaml.CSafeLoader)["scrape_configs"]
    (discovery,) = job["dns_sd_configs"]
    services = yaml.load((CHECKOUT / "docker-compose.yml").read_text(), Loader=yaml.CSafeLoader)["services"]
    watched = {
        name: service["environment"]["NNLITE_METRICS__PORT"]
        for name, service in services.items()
        if "NNLITE_METRICS__PORT" in service.get("environment", {})
    }
    assert sorted(discovery["names"]) == sorted(watched)
    assert set(watched.values()) == {discovery["port"]}


def test_the_example_of_alertmanager_routes_what_there_is():
    example = yaml.load((MONITORING / "alertmanager.example.yml").read_text(), Loader=yaml.CSafeLoader)
    receivers = {receiver["name"] for receiver in example["receivers"]}
    routes = [example["route"], *example["route"]["routes"]]
    assert {route["receiver"] for route in routes} == receivers
    named = re.findall(r"Nnlite\w+", str(example["inhibit_rules"]))
    assert set(named) <= {rule["alert"] for rule in alerts()}
    severities = {rule["labels"]["severity"] for rule in alerts()}
    assert set(re.findall(r"severity = \"(\w+)\"", str(example))) <= severities
