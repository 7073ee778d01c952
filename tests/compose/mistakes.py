"""What operators get wrong: each mistake must be said in a line, before anything starts.

All are made by a project of their own, in whose volumes and containers nothing
is lost when they fail.
"""

import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from compose.lab import FILES, Lab, LabError

PROJECT = "nnlite-mistakes"
SECRET_FILES = "deploy/compose.secret-files.yml"


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One mistake and what has to be said of it."""

    what: str
    #: In one line of what compose prints.
    expected: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    #: What is brought up, whose start has to fail.
    services: Sequence[str] = ("check",)
    files: Sequence[str] = FILES
    #: What is arranged around it.
    around: Callable[[Lab], Iterator[None]] | None = None


def check(folder: Path, say: Callable[[str], None]) -> None:
    """Make every mistake.

    Raises:
        LabError: one is not said in a line.
    """
    for mistake in _mistakes(folder):
        lab = Lab(folder=folder, project=PROJECT, variables=mistake.variables, files=mistake.files)
        with ExitStack() as stack:
            stack.callback(lab.compose, "down", "--volumes")
            if mistake.around:
                stack.enter_context(contextmanager(mistake.around)(lab))
            done = lab.try_compose("up", "--no-color", "--abort-on-container-exit", *mistake.services)
        printed = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", done.stdout)
        lines = [line for line in printed.splitlines() if all(part in line for part in mistake.expected)]
        if done.returncode == 0 or not lines:
            raise LabError(f"{mistake.what} is not said: {done.returncode}\n{done.stdout}")
        say(f"{mistake.what}: {lines[0].strip()}")


def _mistakes(folder: Path) -> list[Mistake]:
    secrets = folder / "secrets"
    return [
        Mistake(
            what="a password that is empty",
            variables={"LAB_REDIS_PASSWORD": ""},
            expected=["LAB_REDIS_PASSWORD"],
        ),
        Mistake(
            what="a password that is short",
            variables={"LAB_FLOWER_PASSWORD": "flower"},
            expected=["LAB_FLOWER_PASSWORD", "6 characters"],
        ),
        Mistake(
            what="Grafana without a password",
            variables={"COMPOSE_PROFILES": "monitoring", "LAB_GRAFANA_PASSWORD": ""},
            services=("check-grafana",),
            expected=["LAB_GRAFANA_PASSWORD", "is empty"],
        ),
        Mistake(
            what="a secret's file that workers may not read",
            variables={"LAB_SECRETS": str(secrets)},
            files=(*FILES, SECRET_FILES),
            around=lambda _: _closed_secrets(secrets),
            expected=["/run/secrets/postgres_password", "Permission denied"],
        ),
        Mistake(
            what="an unknown profile",
            variables={"COMPOSE_PROFILES": "emulators"},
            expected=["unknown profile emulators", "did you mean emulator?"],
        ),
        Mistake(
            what="no KVM", variables={"COMPOSE_PROFILES": "emulator"}, expected=["profile emulator", "kvm"]
        ),
        Mistake(
            what="too little disk",
            variables={"LAB_MIN_FREE_GB": "1000000"},
            expected=["/artifacts", "1e+06 GB are needed"],
        ),
        Mistake(
            what="a volume of an older Postgres",
            around=_older_postgres,
            expected=["Postgres 13", "this is Postgres 15"],
        ),
        Mistake(
            what="a port that is taken",
            around=_taken_port,
            services=("flower",),
            expected=["address already in use"],
        ),
    ]


def _closed_secrets(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    for name in ("postgres", "redis", "flower", "grafana"):
        file = folder / f"{name}_password"
        file.write_text("0123456789abcdef")
        file.chmod(0o600)
    yield


def _older_postgres(lab: Lab) -> Iterator[None]:
    lab.compose("create", "check")
    write = "echo 13 > /var/lib/postgresql/data/PG_VERSION"
    lab.compose("run", "--rm", "--no-deps", "--entrypoint", "sh", "postgres", "-c", write)
    yield


def _taken_port(lab: Lab) -> Iterator[None]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", lab.flower_port))
        taken.listen()
        yield
