"""The app that `make apk` built, and its core compiled for the JVM. Nothing here uses a network."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from apk.building import SOURCES, Toolchain
from apk.cache import Cache
from apk.lock import Use
from waiting import HANG_S

REPOSITORY = Path(__file__).resolve().parents[2]
APK = REPOSITORY / "build" / "nnlite-benchmark.apk"
CORE = SOURCES / "org/nnlite/benchmark/core"
JAVA_TESTS = REPOSITORY / "android_app" / "src" / "test" / "java"
TIMEOUT_S = HANG_S


@pytest.fixture(scope="session")
def tools() -> Toolchain:
    """The tools that the app is built with; `make test` fetches them before."""
    return Toolchain(cache=Cache(folder=REPOSITORY / ".nnlite" / "android"))


@pytest.fixture(scope="session")
def apk() -> Path:
    """The signed app."""
    assert APK.exists(), "run `make apk` first; `make test` does"
    return APK


@pytest.fixture(scope="session")
def java(tools: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run a class of the core or of its tests on the JVM: `java("org.example.Main", "word")`."""
    classes = tmp_path_factory.mktemp("core")
    jars = tools.cache.files(Use.TEST)
    tools.compile([*CORE.rglob("*.java"), *JAVA_TESTS.rglob("*.java")], jars, classes)
    class_path = ":".join(map(str, [classes, *jars]))
    schema = REPOSITORY / "services/nnlite/reports/report.schema.json"

    def run(main: str, *words: str | Path) -> str:
        # The simplest compiler: these programs end before the other one pays.
        command = ["java", "-XX:TieredStopAtLevel=1", f"-Dreport.schema={schema}", "-cp", class_path, main]
        result = subprocess.run(
            [*command, *map(str, words)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
        return result.stdout

    return run


@pytest.fixture(scope="session")
def probe(java: Callable[..., str]) -> Callable[..., list[Any]]:
    """Ask the core something by a command of `CoreProbe`; returns its lines of JSON."""

    def ask(*words: str | Path) -> list[Any]:
        lines: Sequence[str] = java("org.nnlite.benchmark.core.CoreProbe", *words).splitlines()
        return [json.loads(line) for line in lines]

    return ask
