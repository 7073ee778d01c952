"""Pages of files that are mapped in a process, where the kernel tells them."""

import os

from nnlite_benchmark.host.resident_pages import resident_pages


def test_pages_that_cannot_be_read_are_unknown(monkeypatch):
    def fail(*_):
        raise PermissionError

    monkeypatch.setattr(os, "pread", fail)
    assert resident_pages() == []
