"""What of `make compose-test` runs without an engine: its statements, and compose's reading of all files."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from compose import backup, campaign, configurations
from compose.engine import PLUGINS
from compose.host_network import without_docker
from compose.lab import FILES
from nnlite.db.engine import engine_for
from waiting import HANG_S

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = sorted((CHECKOUT / "tests" / "compose").glob("*.py"))
PLUGIN = PLUGINS / "usr/libexec/docker/cli-plugins/docker-compose"
#: What the programs put into their statements.
VALUES = {
    "table": "benchmark",
    "state": "running",
    "condition": "pool = 'host'",
    "CAMPAIGN": "lab",
    "campaign": "spy",
    "statement": "SELECT 1",
}


class Statements(ast.NodeVisitor):
    """Collects a program's statements that select, by their lines."""

    def __init__(self):
        self.found = {}

    def visit_Constant(self, node):
        if isinstance(node.value, str):
            self._keep(node.lineno, node.value)

    def visit_JoinedStr(self, node):
        parts = (
            part.value if isinstance(part, ast.Constant) else VALUES.get(ast.unparse(part.value), "?")
            for part in node.values
        )
        self._keep(node.lineno, "".join(parts))

    def _keep(self, line, string):
        if string.lstrip().startswith("SELECT"):
            self.found[line] = string


def statements():
    for program in PROGRAMS:
        visitor = Statements()
        visitor.visit(ast.parse(program.read_text()))
        for line, statement in visitor.found.items():
            yield pytest.param(statement, id=f"{program.stem}:{line}")


@pytest.mark.parametrize("statement", [*statements()])
def test_statements_of_the_test_are_for_this_schema(database_url, statement):
    engine = engine_for(database_url)
    with engine.connect() as connection:
        connection.execute(text(statement.replace(":", r"\:")))
    engine.dispose()


@pytest.mark.parametrize("table", backup.TABLES)
def test_tables_that_the_backup_is_compared_by_are_there(database_url, table):
    engine = engine_for(database_url)
    with engine.connect() as connection:
        assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0
    engine.dispose()


@pytest.fixture
def compose(tmp_path, monkeypatch):
    """The command `docker compose`, of this machine or as `make compose-test` fetched it."""
    answered = shutil.which("docker") and subprocess.run(
        ["docker", "compose", "version"], capture_output=True, timeout=HANG_S, check=False
    )
    if answered and answered.returncode == 0:
        return
    if not PLUGIN.is_file():
        pytest.skip("this machine has no compose, and `make compose-test` has fetched none")
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\nshift\nexec "{PLUGIN}" "$@"\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_compose_reads_every_profile_and_every_overlay(compose, tmp_path):
    configurations.check(tmp_path)


def test_the_test_starts_and_builds_services_that_are_there(compose, tmp_path):
    lab = campaign.Lab(folder=tmp_path, project="nnlite-test", variables=campaign.VARIABLES, files=FILES)
    services = set(lab.compose("config", "--services").split())

    assert {*campaign.STARTED, *campaign.BUILT} <= services


def test_the_image_of_the_virtual_device_has_what_it_imports(tmp_path):
    """It has Python alone, and what its Dockerfile copies."""
    dockerfile = (CHECKOUT / "tests/compose/device/Dockerfile").read_text()
    for line in re.findall(r"^COPY (.*)$", dockerfile, re.MULTILINE):
        *sources, target = line.split()
        for source in map(Path, sources):
            if source.is_relative_to("build"):  # by `make host-app`; nothing there is imported
                continue
            into = tmp_path / target
            if (CHECKOUT / source).is_dir():
                shutil.copytree(CHECKOUT / source, into, dirs_exist_ok=True)
            else:
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy(CHECKOUT / source, into)
    started = subprocess.run(
        [sys.executable, "-S", "-c", "import device.rig.container, device.rig.runtimes"],
        env={"PYTHONPATH": f"{tmp_path}/tests:{tmp_path}/tools"},
        capture_output=True, text=True, timeout=HANG_S, check=False,
    )  # fmt: skip
    assert started.returncode == 0, started.stderr


RULES = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
-A INPUT -p tcp --dport 22 -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.18.0.0/16 ! -o br-0123456789ab -j MASQUERADE
COMMIT
"""


@pytest.mark.parametrize(
    ("before", "policy"),
    [("", "ACCEPT"), ("*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n", "ACCEPT"), (RULES, "DROP")],
)
def test_an_engine_that_ended_leaves_no_rules(before, policy):
    assert (
        without_docker(RULES, before=before)
        == f"""*filter
:INPUT ACCEPT [0:0]
:FORWARD {policy} [0:0]
-A INPUT -p tcp --dport 22 -j ACCEPT
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
COMMIT
"""
    )
