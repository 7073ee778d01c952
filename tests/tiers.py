"""Tiers of tests by cost: assigns each test one marker, and holds fast tests to what they may use.

A test's tier is its own marker or its module's, else what its folder and fixtures say. Fast tests run in this
process alone: one that starts a process, loads PyTorch or reads LEMUR's archive fails.
"""

import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

#: Every test has exactly one of these.
TIERS = ("fast", "process", "server", "device")
#: What a folder below `tests` makes of its tests; of the longest path that fits.
FOLDERS = {
    ".": "fast",
    "unit/conversion": "process",
    "integration": "process",
    "android_app": "process",
    "benchmarks": "server",
    "device": "device",
    "end_to_end": "server",
}
#: A test that uses one of these needs Postgres or Valkey, whatever its folder.
SERVER_FIXTURES = {"embedded", "used_home"}
#: Folders whose tests take long each.
SLOW_FOLDERS = {"device", "end_to_end"}

_TESTS = Path(__file__).parent
_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
_OWN_TIER = re.compile(r"^pytestmark = pytest\.mark\.(\w+)", re.MULTILINE)
_HEAVY_MODULES = {"torch", "torchvision", "litert_torch", "ai_edge_litert", "sklearn"}
#: The fast test that runs now; the audit hook, which cannot be removed, looks at it.
_running: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test its tier."""
    for item in items:
        own = [tier for tier in TIERS if item.get_closest_marker(tier)]
        if len(own) > 1:
            raise pytest.UsageError(f"{item.nodeid} has several tiers: {', '.join(own)}")
        folder = folder_of(item.path)
        if not own:
            item.add_marker(_tier(folder, getattr(item, "fixturenames", ())))
        if SLOW_FOLDERS.intersection(folder.parts):
            item.add_marker("slow")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip files without fast tests when only fast ones are wanted: their imports alone take long."""
    if config.option.markexpr != "fast" or not collection_path.is_relative_to(_TESTS):
        return None
    if collection_path.is_dir():
        return True if _tier(collection_path.relative_to(_TESTS)) != "fast" else None
    whole = _OWN_TIER.search(collection_path.read_text()) if collection_path.suffix == ".py" else None
    return True if whole and whole[1] != "fast" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Watch a fast test, its fixtures included."""
    if item.get_closest_marker("fast"):
        _running.append(item.nodeid)
    try:
        return (yield)
    finally:
        _running.clear()


def folder_of(path: Path) -> Path:
    """Return the folder of a test file, relative to `tests`."""
    return path.parent.relative_to(_TESTS)


def _tier(folder: Path, fixtures: Collection[str] = ()) -> str:
    usual = next(FOLDERS[name] for path in (folder, *folder.parents) if (name := path.as_posix()) in FOLDERS)
    return "server" if usual != "device" and SERVER_FIXTURES.intersection(fixtures) else usual


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _running:
        return
    if event in _STARTS:
        _refuse("starts a process")
    elif event == "import" and arguments[0].partition(".")[0] in _HEAVY_MODULES:
        _refuse(f"imports {arguments[0]}")
    elif event == "open" and isinstance(arguments[0], str) and arguments[0].endswith("-none-any.whl"):
        _refuse("reads a wheel of LEMUR")


def _refuse(what: str) -> None:
    name, _running[:] = _running[0], []
    raise AssertionError(f"{name} {what}: mark it `process`, or let it do without")


sys.addaudithook(_audit)
