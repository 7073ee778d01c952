"""Time and memory of listing all of LEMUR, with our cache empty and with it, each in a fresh process.

Bounds: 10 s with the cache empty, 2 s with it, 300 MB; from a wheel, from an installed tree and from a SQLite
file of nn-dataset's size alike.
"""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from nnlite.catalog.lemur.archive import EPOCH_FILE, MODELS, STATISTICS, TRANSFORMS
from nnlite.catalog.lemur.fetch import fetch_lemur
from nnlite.catalog.lemur.location import find_lemur
from nnlite.settings import load_settings
from unit.catalog.copies import INDEXES, TABLES

#: One listing may take this long before it counts as hung.
TIMEOUT_S = 300
#: Share of a SQLite file that is none of its indexes.
_WITHOUT_INDEXES = 0.6

_LISTING = Path(__file__).parent / "programs" / "list_models.py"


def run(sqlite_mb: int = 1200) -> dict[str, Any]:
    """Return, for each kind of copy, models, seconds (imports included) and peak RSS, cold and warm.

    The wheel is the one that `nnlite fetch` brings, or the one that NNLITE_LEMUR names.

    Args:
        sqlite_mb: size of the SQLite file, which has the wheel's trials and as many more epochs as it takes.
    """
    settings = load_settings()
    named = settings.lemur
    wheel = named if named and zipfile.is_zipfile(named) else fetch_lemur(settings)
    with tempfile.TemporaryDirectory(prefix="nnlite-bench-") as folder:
        tree = Path(folder) / "tree"
        unpack(wheel, tree)
        database = write_sqlite(tree, Path(folder) / "lemur.db", sqlite_mb)
        return {
            kind: _cold_and_warm(copy, Path(folder) / f"home-{kind}")
            for kind, copy in (("wheel", wheel), ("tree", tree), ("sqlite", database))
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


def write_sqlite(tree: Path, file: Path, size_mb: int) -> Path:
    """Write a copy of LEMUR as nn-dataset's database: the trials of the first epoch, and of further ones.

    Args:
        tree: the copy.
        file: where to.
        size_mb: about this large; epochs are added until it is.
    """
    archive = find_lemur(load_settings().model_copy(update={"lemur": tree}))
    trials = [(trial, archive.hyperparameters(trial)) for trial in archive.trials()]
    with closing(sqlite3.connect(file)) as database:
        database.executescript(f"PRAGMA synchronous = OFF; {TABLES}")
        database.executemany("INSERT INTO nn VALUES (?, ?, ?)", ((n, c, n) for n, c in archive.models()))
        database.executemany(
            "INSERT INTO transform VALUES (?, ?, ?)", ((n, c, n) for n, c in archive.transforms().items())
        )
        values = [
            (trial.uid, name, value)
            for trial, values in trials
            for name, value in (values | {"batch": trial.batch}).items()
            if isinstance(value, str | int | float)
        ]
        for epoch in count(1):
            # nn-dataset adds them with each epoch: nothing in its table is unique.
            database.executemany("INSERT INTO prm VALUES (?, ?, ?)", values)
            database.executemany(
                "INSERT OR IGNORE INTO stat VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        f"{trial.task}_{trial.dataset}_{trial.metric}_{trial.name}/{epoch}/{trial.uid}",
                        trial.accuracy, epoch, trial.duration_ns, trial.task, trial.dataset, trial.name,
                        trial.transform, trial.metric, trial.uid,
                    )
                    for trial, _ in trials
                ),
            )  # fmt: skip
            database.commit()
            if file.stat().st_size >= size_mb * 1_000_000 * _WITHOUT_INDEXES:
                database.executescript(INDEXES)
                return file
    raise AssertionError("epochs never end")


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
