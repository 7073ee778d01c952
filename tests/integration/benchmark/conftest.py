"""What the tests of benchmarks on this machine share."""

import pytest

from nnlite_benchmark.protocol import measuring


@pytest.fixture
def steady_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the canary be right and steady without running it, which takes two processes a measurement."""
    monkeypatch.setattr(measuring, "canary_ns", lambda *_, **__: 1_000_000)
