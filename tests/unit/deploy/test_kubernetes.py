"""The example for Kubernetes agrees with itself and the settings; `make kubernetes-check` has its schema."""

from pathlib import Path

import pytest
import yaml

from nnlite.settings import Settings, all_settings

FOLDER = Path(__file__).parents[3] / "deploy" / "kubernetes"
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
OBJECTS = [thing for path in FILES for thing in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader)]
PODS = {
    thing["metadata"]["name"]: thing["spec"]["template"]
    for thing in OBJECTS
    if "template" in thing.get("spec", {})
}
OURS = {name: pod for name, pod in PODS.items() if name not in {"postgres", "redis"}}
#: Made by commands of the guide, from files that the lab server has too.
BY_COMMAND = {"nnlite-passwords", "postgres", "redis"}


def test_every_manifest_is_applied_and_marked_as_not_run():
    applied = yaml.load((FOLDER / "kustomization.yaml").read_text(), Loader=yaml.CSafeLoader)["resources"]

    assert sorted(applied) == [path.name for path in FILES]
    assert all("not run on a cluster" in path.read_text().splitlines()[0] for path in FILES)


@pytest.mark.parametrize("name", PODS)
def test_volumes_and_secrets_of_pods_exist(name):
    pod = PODS[name]["spec"]
    claims = pod["volumes"]
    named = {
        claim.get("configMap", {}).get("name")
        or claim.get("secret", {}).get("secretName")
        or claim.get("persistentVolumeClaim", {}).get("claimName")
        for claim in claims
    } | {source["configMapRef"]["name"] for source in pod["containers"][0].get("envFrom", [])}
    created = {
        thing["metadata"]["name"]
        for thing in OBJECTS
        if thing["kind"] in {"ConfigMap", "PersistentVolumeClaim"}
    }
    mounted = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}

    assert named - {None} <= created | BY_COMMAND
    assert mounted - {"data"} == {claim["name"] for claim in claims}


def test_variables_of_pods_are_settings():
    (settings,) = (thing["data"] for thing in OBJECTS if thing["kind"] == "ConfigMap")

    assert set(settings) <= all_settings().keys()


@pytest.mark.parametrize(
    "name", [name for name in OURS if "livenessProbe" in OURS[name]["spec"]["containers"][0]]
)
def test_the_grace_period_is_long_enough_for_a_graceful_shutdown(name):
    assert (
        PODS[name]["spec"]["terminationGracePeriodSeconds"]
        >= 2 * Settings(_env_file=None).queue.stop_timeout_s
    )


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_no_privileges(name):
    pod = PODS[name]["spec"]
    container = pod["containers"][0]["securityContext"]

    assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
    assert container == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
