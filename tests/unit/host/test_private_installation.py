"""Root's nnlite in a folder that only root may enter: model code cannot run as another account."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nnlite.host import installation


@pytest.fixture
def environment(make_home: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the Python of an installation of root's."""
    folder = make_home() / "lab" / "environment"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text("")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name, path in (
        ("executable", folder / "bin" / "python"),
        ("prefix", folder),
        ("base_prefix", folder),
    ):
        monkeypatch.setattr(sys, name, str(path))
    monkeypatch.setattr(installation, "__file__", str(folder / "bin" / "python"))
    return folder


def test_what_every_account_may_read_is_no_reason(environment: Path) -> None:
    assert installation.why_model_code_is_root() is None


@pytest.mark.parametrize("closed", [".", ".."])
def test_a_folder_that_only_root_may_enter_is_named_with_the_way_out(environment: Path, closed: str) -> None:
    folder = (environment / closed).resolve()
    folder.chmod(0o700)
    assert installation.why_model_code_is_root() == (
        f"model code runs as root: only root may read {folder}, where nnlite's Python is; install it where "
        "every account may read: /usr/bin/python3 -m venv /opt/nnlite"
    )


def test_it_concerns_root_alone(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert installation.why_model_code_is_root() is None
