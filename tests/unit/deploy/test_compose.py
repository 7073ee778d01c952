"""The lab server's files agree with each other and the settings; `make compose-test` runs them."""

import re
from pathlib import Path

import yaml

from nnlite.settings import Settings, setting_names

CHECKOUT = Path(__file__).parents[3]
COMPOSE = (CHECKOUT / "docker-compose.yml").read_text()
EXAMPLE = (CHECKOUT / "deploy" / "example.env").read_text()


def test_the_example_lists_every_variable_with_its_default():
    defaults = dict(re.findall(r"\$\{(LAB_\w+):-([^}]*)\}", COMPOSE))
    shown = dict(re.findall(r"^#?(LAB_\w+)=(.*)$", EXAMPLE, re.MULTILINE))

    assert set(defaults) <= set(shown)
    assert {name: shown[name] for name in defaults if shown[name]} == {
        name: default for name, default in defaults.items() if shown[name]
    }


def test_variables_of_services_are_settings():
    assert set(re.findall(r"(NNLITE_\w+):", COMPOSE)) <= set(setting_names())


def test_the_grace_period_is_long_enough_for_a_graceful_shutdown():
    process = yaml.safe_load(COMPOSE)["x-process"]

    assert (
        float(process["stop_grace_period"].removesuffix("s")) > Settings(_env_file=None).queue.stop_timeout_s
    )


def test_a_conversion_is_ended_before_its_container():
    memory_mb = re.search(r"LAB_CONVERSION_MEMORY_MB:-(\d+)", COMPOSE)[1]
    container_gb = re.search(r"LAB_CONVERT_MEMORY:-(\d+)g", COMPOSE)[1]

    assert int(memory_mb) + 1024 < int(container_gb) * 1024
