"""Results: recording, queries, devices and runtime checks; `frame` returns them as a DataFrame."""

from nnlite.results.frames import frame

__all__ = ["frame"]
