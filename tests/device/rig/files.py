"""Writes files of a virtual device that other processes may read meanwhile.

`nnlite.host.files` does too, but nnlite is not imported inside a virtual device.
"""

import os
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write a file in one step: nobody reads a part of it."""
    new = path.with_name(f".{path.name.removeprefix('.')}.{os.getpid()}")
    new.write_text(text)
    new.replace(path)
