"""Packages bring rewrites by entry points; their versions are part of every cache key."""

import importlib
import sys

import pytest
import torch

from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import Precision
from nnlite_conversion import cache_key
from nnlite_conversion.pipeline.lowering.rewrites import packages

METADATA = "Metadata-Version: 2.1\nName: ours\nVersion: 1.2\n"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return a function that installs a distribution with one entry point."""

    def install(target, code=""):
        folder = tmp_path / "ours-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(METADATA)
        (folder / "entry_points.txt").write_text(f"[nnlite.rewrites]\nours = {target}\n")
        (tmp_path / "our_rewrites.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        packages.of_packages.cache_clear()
        cache_key.converter_tag.cache_clear()

    yield install
    packages.of_packages.cache_clear()
    cache_key.converter_tag.cache_clear()
    sys.modules.pop("our_rewrites", None)


@pytest.mark.process
def test_operators_and_graphs_are_rewritten_by_a_package(installed):
    installed(
        "our_rewrites:OPERATORS",
        "import torch\nOPERATORS = {torch.ops.aten.silu.default: lambda x: x * torch.sigmoid(x)}\n",
    )

    assert list(packages.of_packages().operators) == [torch.ops.aten.silu.default]
    assert packages.of_packages().graphs == ()


@pytest.mark.process
def test_a_function_of_a_package_rewrites_graphs(installed):
    installed("our_rewrites:nothing", "def nothing(graph):\n    return False\n")

    assert [rewrite.__name__ for rewrite in packages.of_packages().graphs] == ["nothing"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("our_rewrites:missing", "cannot be loaded"),
        ("our_rewrites:NUMBER", "neither a function nor a mapping"),
    ],
)
def test_what_is_no_rewrite_is_named_with_its_package(installed, target, problem):
    installed(target, "NUMBER = 3\n")

    with pytest.raises(Failure, match=f"entry point ours of package ours .* {problem}") as failed:
        packages.of_packages()

    assert failed.value.failure_class is FailureClass.CONVERTER


@pytest.mark.process
def test_the_version_of_a_package_is_in_every_key(installed):
    before = cache_key.cache_key("a" * 64, Precision.FP32)
    installed("our_rewrites:nothing")

    assert cache_key.converter_tag().endswith("ours 1.2")
    assert cache_key.cache_key("a" * 64, Precision.FP32) != before
