"""Build tool of the benchmark app: needs the standard library, a JDK and the files of `dependencies.toml`."""

from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
APP: Final = REPOSITORY / "android_app"


class BuildError(Exception):
    """The app cannot be built; the message says what to do."""
