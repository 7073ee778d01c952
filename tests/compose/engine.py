"""A Docker engine with compose: the one that runs, or one of our own from Debian's packages.

Ours keeps its images below `.nnlite/docker`, listens on a socket of its own,
and ends with the block, with what it changed in this machine's network. It
needs root on Debian 12. Its base image is made by
debootstrap, because a machine that has no engine seldom has a registry either.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from compose.host_network import network_restored
from device.rig.fetch import CHECKOUT, debian_mirror, fetch, fetched

HOME = CHECKOUT / ".nnlite" / "docker"
PLUGINS = HOME / "plugins"
LOCK = Path(__file__).with_name("packages.lock")
#: Not below the checkout: a socket's path may have 107 characters.
RUN = Path("/run/nnlite-docker")
SOCKET = RUN / "docker.sock"
PACKAGES = ("docker.io", "debootstrap", "iptables", "iproute2", "ca-certificates")
BASE_IMAGE = "nnlite-debian:12"
RELEASE = "bookworm"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
INSTALL_TIMEOUT_S = 900


class EngineError(Exception):
    """There is no engine, and none can be set up."""


@contextmanager
def engine() -> Iterator[None]:
    """Have `docker` and `docker compose` work inside; an engine that was started ends with it.

    Raises:
        EngineError: none runs, and this is neither root nor Debian.
    """
    with _running_engine():
        _bring_plugins()
        yield


def make_base_image() -> None:
    """Make `BASE_IMAGE`, unless it is there: Debian 12 with this machine's certificates and mirror."""
    if _succeeds("docker", "image", "inspect", BASE_IMAGE):
        return
    root = HOME / "root"
    shutil.rmtree(root, ignore_errors=True)
    mirror = debian_mirror()
    _run("debootstrap", "--variant=minbase", "--include=ca-certificates", RELEASE, str(root), mirror)
    sources = "".join(f"deb {mirror} {suite} main\n" for suite in (RELEASE, f"{RELEASE}-updates"))
    (root / "etc/apt/sources.list").write_text(sources)
    own = root / "usr/local/share/ca-certificates"
    for certificate in Path("/usr/local/share/ca-certificates").glob("*.crt"):
        shutil.copy(certificate, own)
    _run("chroot", str(root), "update-ca-certificates")
    for leftover in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(root / leftover)
        (root / leftover / "partial").mkdir(parents=True)
    # Programs that bring certificates of their own are given the machine's.
    names = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
    changes = [f"--change=ENV {name}={CERTIFICATES}" for name in names]
    archive = HOME / "root.tar"
    _run("tar", "--create", "--file", str(archive), "--directory", str(root), ".")
    _run("docker", "import", *changes, "--change=CMD bash", str(archive), BASE_IMAGE)
    archive.unlink()
    shutil.rmtree(root)


@contextmanager
def _running_engine() -> Iterator[None]:
    if shutil.which("docker") and _succeeds("docker", "info"):
        yield
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise EngineError("no Docker engine answers: start one, or be root on Debian 12 to have one set up")
    if not all(shutil.which(program) for program in ("dockerd", "docker", "debootstrap", "iptables")):
        _run("apt-get", "update", "--quiet")
        _run("apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES)
    RUN.mkdir(mode=0o700, exist_ok=True)
    HOME.mkdir(parents=True, exist_ok=True)
    os.environ["DOCKER_HOST"] = f"unix://{SOCKET}"
    with network_restored():
        yield from _own_engine()


def _own_engine() -> Iterator[None]:
    with (HOME / "dockerd.log").open("ab") as log:
        # For the overlay of gVisor, where this machine has that.
        runsc = shutil.which("runsc")
        daemon = subprocess.Popen(
            ["dockerd", f"--host=unix://{SOCKET}", f"--data-root={HOME / 'data'}",
             f"--exec-root={RUN / 'exec'}", f"--pidfile={RUN / 'docker.pid'}",
             *([f"--add-runtime=runsc={runsc}"] if runsc else [])],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        _await_answer(daemon)
        yield
    finally:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        for left in RUN.glob("exec/runtime-*/*/null-netns"):  # a mount of gVisor's
            _succeeds("umount", str(left))
        shutil.rmtree(RUN, ignore_errors=True)


def _await_answer(daemon: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not _succeeds("docker", "info"):
        if daemon.poll() is not None or time.monotonic() > deadline_s:
            tail = (HOME / "dockerd.log").read_text(errors="replace").strip().splitlines()[-5:]
            raise EngineError("\n".join(["dockerd does not come up:", *tail]))
        time.sleep(0.5)


def _bring_plugins() -> None:
    """Add compose and buildx where the docker command has none."""
    if _succeeds("docker", "compose", "version") and _succeeds("docker", "buildx", "version"):
        return
    if not fetched(LOCK, PLUGINS):
        fetch(LOCK, PLUGINS)
    config = HOME / "config"
    folder = config / "cli-plugins"
    shutil.rmtree(config, ignore_errors=True)
    folder.mkdir(parents=True)
    for plugin in (PLUGINS / "usr/libexec/docker/cli-plugins").iterdir():
        (folder / plugin.name).symlink_to(plugin)
    os.environ["DOCKER_CONFIG"] = str(config)


def _succeeds(*command: str) -> bool:
    done = subprocess.run(command, capture_output=True, timeout=START_TIMEOUT_S, check=False)
    return done.returncode == 0


def _run(*command: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise EngineError(f"{_shown(command)} ended with {done.returncode}:\n{done.stderr or done.stdout}")


def _shown(command: Sequence[str]) -> str:
    return " ".join(command)
