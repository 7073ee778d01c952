"""Time and memory of listing all of LEMUR, with our cache empty and with it, each in a fresh process.

Bounds: 10 s with the cache empty, 2 s with it, 300 MB; from a wheel and from an installed tree alike.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from nnlite.catalog.lemur.archive import EPOCH_FILE, MODELS, STATISTICS, TRANSFORMS
from nnlite.catalog.lemur.fetch import fetch_lemur
from nnlite.settings import load_settings

#: One listing may take this long before it counts as hung.
TIMEOUT_S = 300

_LISTING = Path(__file__).parent / "programs" / "list_models.py"


def run() -> dict[str, Any]:
    """Return, for each kind of copy, models, seconds (imports included) and peak RSS, cold and warm.

    The wheel is the one that `nnlite fetch` brings, or the one that NNLITE_LEMUR names.
    """
    settings = load_settings()
    named = settings.lemur
    wheel = named if named and zipfile.is_zipfile(named) else fetch_lemur(settings)
    with tempfile.TemporaryDirectory(prefix="nnlite-bench-") as folder:
        tree = Path(folder) / "tree"
        unpack(wheel, tree)
        return {
            kind: _cold_and_warm(copy, Path(folder) / f"home-{kind}")
            for kind, copy in (("wheel", wheel), ("tree", tree))
        }


def _cold_and_warm(copy: Path, home: Path) -> dict[str, Any]:
    """List twice: without our cache and with it; the ratio is what the cache saves."""
    cold, warm = listing(copy, home), listing(copy, home)
    return {"cold": cold, "warm": warm, "cold_to_warm_ratio": round(cold["seconds"] / warm["seconds"], 1)}


def listing(copy: Path, home: Path) -> dict[str, float]:
    """List `copy` in a fresh process whose caches lie in `home`."""
    environment = os.environ | {"NNLITE_LEMUR": str(copy), "NNLITE_HOME": str(home)}
    result = subprocess.run(
        [sys.executable, _LISTING], env=environment, capture_output=True, check=True, timeout=TIMEOUT_S
    )
    measured: dict[str, float] = json.loads(result.stdout)
    return measured


def unpack(wheel: Path, tree: Path) -> None:
    """Lay the files that a listing reads out as an installation would."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(
            tree,
            [
                name
                for name in archive.namelist()
                if name.startswith((MODELS, TRANSFORMS))
                or (name.startswith(STATISTICS) and name.endswith(f"/{EPOCH_FILE}"))
            ],
        )


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
