"""One lab server in compose, as the tests see it: up, down, killed in places, asked by SQL and over HTTP."""

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from compose.engine import BASE_IMAGE
from device.rig.fetch import CHECKOUT

FILES = (
    "docker-compose.yml",
    "deploy/compose.debian.yml",
    "deploy/compose.tls.yml",
    "tests/compose/lemur.yml",
    "tests/compose/device/compose.yml",
)
COMMAND_TIMEOUT_S = 600
BUILD_TIMEOUT_S = 3600
HTTP_TIMEOUT_S = 20
POLL_S = 0.5

T = TypeVar("T")


class LabError(Exception):
    """The lab did not do what it should; the message says what it did."""


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_certificates(folder: Path) -> None:
    """Make a certificate authority and the servers' certificates in `folder`, as the guide says."""
    script = CHECKOUT / "deploy" / "tls" / "make-certificates.sh"
    subprocess.run(["sh", script, folder], check=True, capture_output=True, timeout=COMMAND_TIMEOUT_S)


@dataclass(kw_only=True)
class Lab:
    """A compose project of its own.

    Args:
        folder: where its `.env` is written.
        project: name of the compose project.
        variables: of `.env`, besides those that every lab needs.
        files: compose files, below the checkout.
    """

    folder: Path
    project: str
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[str] = FILES
    flower_password: str = field(default_factory=lambda: secrets.token_hex(16))
    flower_port: int = field(default_factory=free_port)
    prometheus_port: int = field(default_factory=free_port)
    alertmanager_port: int = field(default_factory=free_port)
    rank_port: int = field(default_factory=free_port)
    rank_token: str = field(default_factory=lambda: secrets.token_hex(16))

    def __post_init__(self) -> None:
        chosen = {
            "LAB_BASE_IMAGE": BASE_IMAGE,
            "LAB_POSTGRES_PASSWORD": secrets.token_hex(16),
            "LAB_REDIS_PASSWORD": secrets.token_hex(16),
            "LAB_FLOWER_PASSWORD": self.flower_password,
            "LAB_GRAFANA_PASSWORD": secrets.token_hex(16),
            "LAB_FLOWER_PORT": str(self.flower_port),
            "LAB_PROMETHEUS_PORT": str(self.prometheus_port),
            "LAB_ALERTMANAGER_PORT": str(self.alertmanager_port),
            "LAB_RANK_PORT": str(self.rank_port),
            "LAB_RANK_TOKEN": self.rank_token,
            "LAB_SMTP_PASSWORD": secrets.token_hex(16),
            "LAB_TLS": str(self.folder / "tls"),
            **self.variables,
        }
        self._env_file = self.folder / f"{self.project}.env"
        lines = (f"{name}={value}\n" for name, value in chosen.items())
        self._env_file.touch(mode=0o600)
        self._env_file.write_text("".join(lines))

    def try_compose(
        self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker compose` with these arguments and return how it ended, its output in one stream."""
        command = ["docker", "compose", "--project-name", self.project, "--env-file", str(self._env_file)]
        command += [f"--file={name}" for name in self.files]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LAB_")}
        environment.pop("COMPOSE_PROFILES", None)
        return subprocess.run(
            [*command, *arguments],
            cwd=CHECKOUT,
            env=environment | {"COMPOSE_ANSI": "never", "COMPOSE_PROGRESS": "plain"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def compose(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run `docker compose` and return what it printed.

        Raises:
            LabError: it failed.
        """
        done = self.try_compose(*arguments, timeout_s=timeout_s)
        if done.returncode != 0:
            tail = "\n".join(done.stdout.strip().splitlines()[-30:])
            raise LabError(f"docker compose {' '.join(arguments)} ended with {done.returncode}:\n{tail}")
        return done.stdout

    def nnlite(self, *arguments: str) -> str:
        """Run the command line in a container of its own, as a user does."""
        return self.compose("run", "--rm", "nnlite", *arguments)

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Return the rows of an SQL statement; none where Postgres does not answer.

        Raises:
            LabError: the statement is wrong.
        """
        wrapped = f"SELECT coalesce(json_agg(r), '[]') FROM ({statement}) r"
        psql = ("psql", "--username=nnlite", "--dbname=nnlite", "--no-align", "--tuples-only")
        done = self.try_compose("exec", "--no-TTY", "postgres", *psql, "--command", wrapped)
        if "ERROR:" in done.stdout:
            raise LabError(f"Postgres refuses {statement}: {done.stdout}")
        if done.returncode != 0:
            return []
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    def count(self, statement: str) -> int:
        """Return the one number that a statement selects as `n`; 0 where Postgres does not answer."""
        rows = self.query(statement)
        return int(rows[0]["n"]) if rows else 0

    def container(self, service: str) -> str:
        """Return the id of the first container of `service`."""
        return self.compose("ps", "--all", "--quiet", service).split()[0]

    def kill(self, service: str) -> None:
        """Kill the first process of a service with SIGKILL from outside, as a crash does.

        Not by `docker kill`: the engine takes that for the wish that it stays down.
        """
        container = self.container(service)
        pid, started = self._inspect(container, "{{.State.Pid}} {{.State.StartedAt}}").split()
        os.kill(int(pid), signal.SIGKILL)
        again = lambda: self._inspect(container, "{{.State.Running}} {{.State.StartedAt}}")  # noqa: E731
        await_(
            f"{service} starts again",
            lambda: again().startswith("true") and started not in again(),
            timeout_s=60,
        )

    def image_sizes(self) -> dict[str, int]:
        """Return the size of every image of the lab that is there, bytes."""
        names = sorted(set(self.compose("config", "--images").split()))
        sizes = {name: self._inspect(name, "{{.Size}}") for name in names}
        return {name: int(size) for name, size in sizes.items() if size}

    def healthy(self, service: str) -> bool:
        """Whether the engine calls a service healthy."""
        return self._inspect(self.container(service), "{{.State.Health.Status}}") == "healthy"

    def http(self, port: int, path: str, *, authorization: str | None = None) -> tuple[int, str]:
        """Return status and body of what a port of the lab answers to GET `path`."""
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
        if authorization:
            request.add_header("Authorization", authorization)
        try:
            with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError as error:
            return 0, str(error)

    def flower(self, path: str) -> Any:
        """Return what Flower's API answers to its user.

        Raises:
            LabError: it refuses.
        """
        token = base64.b64encode(f"nnlite:{self.flower_password}".encode()).decode()
        status, body = self.http(self.flower_port, path, authorization=f"Basic {token}")
        if status != 200:
            raise LabError(f"Flower answers {status} to {path}: {body[:200]}")
        return json.loads(body)

    def _inspect(self, container: str, template: str) -> str:
        command = ["docker", "inspect", "--format", template, container]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.strip()


def await_(what: str, condition: Callable[[], T], *, timeout_s: float) -> T:
    """Return the first true value of `found`.

    Raises:
        LabError: there was none in time.
    """
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline_s:
            raise LabError(f"not within {timeout_s:g} s: {what}")
        time.sleep(POLL_S)
    return value
