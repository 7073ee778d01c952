"""The lab server's files agree with each other, the wheel and the settings; `make compose-test` runs them."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from nnlite.cli import command_line
from nnlite.settings import Settings, all_settings

CHECKOUT = Path(__file__).parents[3]
BASE = CHECKOUT / "docker-compose.yml"
COMPOSE = BASE.read_text()
GUIDE = (CHECKOUT / "deploy" / "README.md").read_text()
#: Those of a lab, and those that the lab's test adds.
OVERLAYS = {
    file.name.removeprefix("compose.").removesuffix(".yml"): file
    for file in sorted((CHECKOUT / "deploy").glob("compose.*.yml"))
}
TESTS_OVERLAYS = [CHECKOUT / "tests/compose/lemur.yml", CHECKOUT / "tests/compose/device/compose.yml"]
DOCKERFILES = [
    CHECKOUT / name
    for name in ("deploy/Dockerfile", "deploy/debian/Dockerfile", "tests/compose/device/Dockerfile")
]


class Overlay(yaml.CSafeLoader):
    """Reads compose's own tags: `!reset` and `!override` stand before ordinary values."""


def _plain(loader: Overlay, _suffix: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else None


Overlay.add_multi_constructor("!", _plain)
EXAMPLE = (CHECKOUT / "deploy" / "example.env").read_text()


def read(file):
    """Return a compose file with the defaults of its variables."""
    text = re.sub(r"\$\{\w+:?[-?+]((?:\$\{[^}]*\}|[^{}])*)\}", r"\1", file.read_text())
    return yaml.load(re.sub(r"\$\{\w+(:-)?\}", "", text), Loader=Overlay)


SERVICES = read(BASE)["services"]
#: Services with a process of nnlite, by the arguments of `nnlite`.
COMMANDS = {
    name: service["command"]
    for name, service in SERVICES.items()
    if service["image"].startswith("nnlite-") and "command" in service
}


def recipe(dockerfile):
    """Return the instructions of a Dockerfile, one a line, without comments."""
    lines = (line for line in dockerfile.read_text().splitlines() if not line.startswith("#"))
    return re.sub(r"\\\n", " ", "\n".join(lines))


def stages(dockerfile):
    return re.findall(r"^FROM \S+ AS (\S+)$", recipe(dockerfile), re.MULTILINE)


def ignored(path, patterns):
    """Whether a file `.dockerignore` of such patterns keeps a path out of the build."""
    wanted = [pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")]
    return "*" in patterns and not any(f"{path}/".startswith(f"{folder}/") for folder in wanted)


def test_the_example_lists_every_variable_with_its_default():
    defaults = dict(re.findall(r"\$\{(LAB_\w+):-([^}]*)\}", COMPOSE))
    shown = dict(re.findall(r"^#?(LAB_\w+)=(.*)$", EXAMPLE, re.MULTILINE))

    assert set(defaults) <= set(shown)
    assert {name: shown[name] for name in defaults if shown[name]} == {
        name: default for name, default in defaults.items() if shown[name]
    }


def test_variables_of_services_are_settings():
    assert set(re.findall(r"(NNLITE_\w+):", COMPOSE)) <= all_settings().keys()


def test_the_grace_period_is_long_enough_for_a_graceful_shutdown():
    process = yaml.load(COMPOSE, Loader=Overlay)["x-process"]

    assert (
        float(process["stop_grace_period"].removesuffix("s")) > Settings(_env_file=None).queue.stop_timeout_s
    )


def test_what_a_converter_holds_is_out_of_reach_of_model_code():
    """Below /private, which only root and its group enter; a certificate authority is public."""
    for file in (BASE, *(CHECKOUT / "deploy").glob("compose.*.yml")):
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


def test_only_a_kernel_of_its_own_gives_a_converter_more():
    """A capability there is one of gVisor's kernel; without that runtime it would be the machine's."""
    for name, file in OVERLAYS.items():
        for service in ("convert", "convert-gpu"):
            overlaid = yaml.load(file.read_text(), Loader=Overlay).get("services", {}).get(service, {})
            if more := overlaid.get("cap_add"):
                assert (name, overlaid["runtime"], more) == ("gvisor", "runsc", ["SYS_ADMIN"])


def test_a_conversion_is_ended_before_its_container():
    memory_mb = re.search(r"LAB_CONVERSION_MEMORY_MB:-(\d+)", COMPOSE)[1]
    container_gb = re.search(r"LAB_CONVERT_MEMORY:-(\d+)g", COMPOSE)[1]

    assert int(memory_mb) + 1024 < int(container_gb) * 1024


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_of_services_are_commands_of_the_wheel(name):
    command, words = typer.main.get_command(command_line()), list(COMMANDS[name])
    while words and words[0] in getattr(command, "commands", {}):
        command = command.get_command(typer.Context(command), words.pop(0))

    command.make_context(name, words)  # raises for what it does not know


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda file: file.parent.name)
def test_images_are_made_from_what_is_there(dockerfile):
    text, named = recipe(dockerfile), set(stages(dockerfile))
    ignore = dockerfile.with_name("Dockerfile.dockerignore")
    patterns = (ignore if ignore.exists() else CHECKOUT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.*) \S+$", text, re.MULTILINE)
    mounted = re.findall(r"--mount=type=bind,source=([^, ]+)", text)
    sources = {*shlex.split(" ".join(copied)), *mounted}
    before = {"build/host-app"}  # of `make host-app`

    assert sources, dockerfile
    assert [path for path in sources - before if not (CHECKOUT / path).exists()] == []
    assert [path for path in sources if ignored(path, patterns)] == []
    assert set(re.findall(r"(?:--from=|[, ]from=)([\w-]+)", text)) <= named
    assert {base for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE) if "$" not in base} <= named


def test_extras_of_images_are_extras_of_the_wheel():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    files = "".join(file.read_text() for file in (DOCKERFILES[0], *OVERLAYS.values()))

    assert set(re.findall(r"--extra ([\w-]+)", files)) <= project["optional-dependencies"].keys()
    assert "nnlite" in project["scripts"]


@pytest.mark.parametrize("file", [BASE, *OVERLAYS.values(), *TESTS_OVERLAYS], ids=str)
def test_services_name_what_is_there(file):
    document = read(file)
    there = {
        key: {name for each in (read(BASE), document) for name in each.get(key) or {}}
        for key in ("volumes", "secrets", "networks")
    }
    for name, service in document.get("services", {}).items():
        assert name in SERVICES or {"extends", "build"} & service.keys(), name
        build = service.get("build", {})
        dockerfile = CHECKOUT / (build.get("dockerfile") or "deploy/Dockerfile")
        assert build.get("target") in {None, *stages(dockerfile)}, name
        assert set(build.get("args", {})) <= set(re.findall(r"^ARG (\w+)", recipe(dockerfile), re.MULTILINE))
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert source.startswith("./.nnlite/") or (CHECKOUT / source).exists(), volume
            else:
                assert source in there["volumes"] or source.startswith("/dev"), volume
        secrets = [each if isinstance(each, str) else each["source"] for each in service.get("secrets", [])]
        assert set(secrets) <= there["secrets"], name
        assert set(service.get("networks", [])) <= there["networks"], name


def test_profiles_and_overlays_are_known_to_the_check_and_to_the_guide():
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
    (known,) = re.findall(r"--known-profiles=(\S+)", COMPOSE)
    cells = re.findall(r"^\| ((?:`[\w-]+`(?:, )?)+) \|", GUIDE, re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"[\w-]+", cell)}

    assert set(known.split(",")) == profiles
    assert profiles - {"tools"} <= named
    assert set(OVERLAYS) <= named


def test_overlays_reach_every_service_that_they_are_about():
    """Otherwise a service of a profile fails, and only with that overlay."""
    clients = {
        name for name, service in SERVICES.items() if "NNLITE_BROKER_URL" in service.get("environment", {})
    }
    store = {
        name
        for name, service in SERVICES.items()
        if any(str(volume).startswith("artifacts:") for volume in service.get("volumes", []))
    }
    on_hosts = read(OVERLAYS["host"])["services"]

    assert clients <= read(OVERLAYS["tls"])["services"].keys()
    # They look at the disk, and read nothing there.
    assert store - {"check", "reaper"} <= read(OVERLAYS["s3"])["services"].keys()
    assert clients <= on_hosts.keys()
    assert all("extra_hosts" in service or "profiles" in service for service in on_hosts.values())


def test_passwords_in_files_are_those_of_the_environment():
    files = read(OVERLAYS["secret-files"])["secrets"]

    assert files.keys() == read(BASE)["secrets"].keys()
