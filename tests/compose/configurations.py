"""Compose reads every profile, and every overlay with all of them; this needs no engine."""

from pathlib import Path

from compose.lab import Lab
from device.rig.fetch import CHECKOUT

BASE = "docker-compose.yml"
OVERLAYS = sorted(file.name.split(".")[1] for file in (CHECKOUT / "deploy").glob("compose.*.yml"))
TOGETHER = ("debian", "server", "tls", "secret-files", "s3", "runtimes")
#: What overlays ask for.
VARIABLES = {
    "LAB_ARTIFACTS_URL": "s3://bucket/lab",
    "LAB_HOST": "second",
    "LAB_NFS_OPTIONS": "addr=127.0.0.1,rw",
    "LAB_NFS_PATH": "/export",
    "LAB_S3_CREDENTIALS": "/dev/null",
    "LAB_SECRETS": "/dev/null",
    "LAB_SERVER": "127.0.0.1",
    "LAB_SERVER_BIND": "127.0.0.1",
    "LAB_TLS": "/dev/null",
}


def check(folder: Path) -> None:
    """Have `docker compose config` read all of them; `folder` is for files of settings.

    Raises:
        LabError: it refuses one.
    """
    profiles = _lab(folder).compose("config", "--profiles").split()
    for profile in ((), *((profile,) for profile in profiles)):
        _read(_lab(folder), profile)
    for overlays in (*((name,) for name in OVERLAYS), TOGETHER):
        _read(_lab(folder, *overlays), profiles)


def _lab(folder: Path, *overlays: str) -> Lab:
    files = (BASE, *(f"deploy/compose.{name}.yml" for name in overlays))
    return Lab(folder=folder, project="nnlite-config", variables=VARIABLES, files=files)


def _read(lab: Lab, profiles: tuple[str, ...] | list[str]) -> None:
    lab.compose(*(f"--profile={profile}" for profile in profiles), "config", "--quiet")
