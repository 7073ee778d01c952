"""Stands in for TensorFlow: does in the fork what the artifact's text says."""

import os  # noqa: F401  (for what artifacts say)
import time  # noqa: F401
import types
from pathlib import Path

__version__ = "2.16.99"
print("noise on stdout", flush=True)


class Interpreter:
    """Runs an artifact that is Python code."""

    def __init__(self, model_path, num_threads):
        exec(Path(model_path).read_text(), globals())


lite = types.SimpleNamespace(Interpreter=Interpreter)
