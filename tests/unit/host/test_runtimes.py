"""Runtimes of hosts are tried, not only looked for."""

from dataclasses import replace

import pytest

from nnlite.backends import HOST_RUNTIMES
from nnlite.host.runtimes import import_problem
from nnlite.vocabulary import Backend
from waiting import HANG_S

pytestmark = pytest.mark.process


def test_a_runtime_that_is_installed_and_cannot_be_imported_is_said_with_its_error():
    litert = HOST_RUNTIMES[Backend.CPU]
    assert import_problem(litert, HANG_S) is None
    broken = replace(litert, session="session_without_module")
    said = import_problem(broken, HANG_S)
    assert said.endswith("No module named 'nnlite_benchmark.host.session_without_module'")
    assert " is installed, and cannot be imported: ModuleNotFoundError" in said
