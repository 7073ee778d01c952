"""The lab server's files agree with each other and the settings; `make compose-test` runs them."""

import re
from pathlib import Path

import yaml

from nnlite.settings import Settings, setting_names

CHECKOUT = Path(__file__).parents[3]
COMPOSE = (CHECKOUT / "docker-compose.yml").read_text()


class Overlay(yaml.SafeLoader):
    """Reads compose's own tags: `!reset` and `!override` stand before ordinary values."""


def _plain(loader: Overlay, _suffix: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else None


Overlay.add_multi_constructor("!", _plain)
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


def test_what_a_converter_holds_is_out_of_reach_of_model_code():
    """Below /private, which only root and its group enter; a certificate authority is public."""
    for file in (CHECKOUT / "docker-compose.yml", *(CHECKOUT / "deploy").glob("compose.*.yml")):
        document = yaml.load(file.read_text(), Loader=Overlay)
        for name in ("convert", "convert-gpu"):
            service = document.get("services", {}).get(name, {})
            secrets = [each for each in service.get("secrets", []) if each != "ca"]
            volumes = service.get("volumes", [])
            assert all(secret["target"].startswith("/private/secrets/") for secret in secrets), file
            assert all(volume.split(":")[1].startswith("/private/") for volume in volumes), file
            paths = [value for value in service.get("environment", {}).values() if "/run/secrets" in value]
            assert all(path.endswith("=/run/secrets/ca") for path in paths), file


def test_a_converter_has_no_capability_beyond_what_switching_accounts_needs():
    convert = yaml.load(COMPOSE, Loader=Overlay)["services"]["convert"]

    assert convert["cap_drop"] == ["ALL"] and "no-new-privileges:true" in convert["security_opt"]
    assert convert["cap_add"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"]
    assert convert["networks"] == ["cluster"]
    assert yaml.load(COMPOSE, Loader=Overlay)["networks"]["cluster"] == {"internal": True}


def test_a_conversion_is_ended_before_its_container():
    memory_mb = re.search(r"LAB_CONVERSION_MEMORY_MB:-(\d+)", COMPOSE)[1]
    container_gb = re.search(r"LAB_CONVERT_MEMORY:-(\d+)g", COMPOSE)[1]

    assert int(memory_mb) + 1024 < int(container_gb) * 1024
