"""SQLite archive of LEMUR, as nn-dataset builds it: tables `nn`, `transform` (name, code), `stat`, `prm`.

nn-dataset's file lacks two things: models that were never trained, and the values of trials that share a
uid (`prm` is keyed by uid alone; the value stored first is used).
Schema: `ab/nn/util/db/Init.py` of nn-dataset 2.1.2.
"""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from nnlite.catalog.lemur.archive import text_of
from nnlite.catalog.lemur.configuration import DEFAULTS, TrainingConfig, Trial, hyperparameters_of
from nnlite.catalog.model import CatalogError

#: The first bytes of every SQLite file.
MAGIC = b"SQLite format 3\0"

# `stat` has no index with the epoch: one pass over each table. A query of `prm` for each trial takes three
# times as long, a join a hundred times: SQLite has no statistics of the file to plan it with.
_TRIALS = """
SELECT nn, task, dataset, metric, transform, prm, duration, accuracy
FROM stat WHERE epoch = 1 AND duration IS NOT NULL ORDER BY rowid
"""
_BATCHES = "SELECT uid, value, min(rowid) FROM prm WHERE name = 'batch' GROUP BY uid"
# nn-dataset adds the values of a trial with each epoch, and trials share a uid: up to thousands of rows.
_VALUES = "SELECT name, value, min(rowid) FROM prm WHERE uid = ? GROUP BY name"


class SqliteArchive:
    """A SQLite file, opened once and read-only: it may have gigabytes, and a listing has 10,000 queries."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path = path
        self._timeout_s = timeout_s
        self._known_values: dict[str, dict[str, Any]] = {}

    def fingerprint(self) -> str:
        """Return path, size and time of the file and of its write-ahead log."""
        parts = [str(self.path.resolve())]
        for path in (self.path, self.path.with_name(self.path.name + "-wal")):
            if path.exists():
                status = path.stat()
                parts.append(f"{status.st_size} {status.st_mtime_ns}")
        return " ".join(parts)

    def models(self) -> Iterator[tuple[str, str]]:
        with self._opened() as connection:
            for name, code in connection.execute("SELECT name, code FROM nn ORDER BY name"):
                yield name, text_of(code.encode())

    def transforms(self) -> dict[str, str]:
        with self._opened() as connection:
            rows = connection.execute("SELECT name, code FROM transform").fetchall()
        return {name: text_of(code.encode()) for name, code in rows}

    def trials(self, names: Collection[str] | None = None) -> Iterator[Trial]:
        with self._opened() as connection:
            batches = {uid: batch for uid, batch, _ in connection.execute(_BATCHES)}
            for row in connection.execute(_TRIALS):
                name, uid = row[0], row[5]
                if uid in batches and (names is None or name in names):
                    yield Trial._make((*row[:6], batches[uid], *row[6:], {}))

    def runs(self) -> dict[str, TrainingConfig]:
        """Return nothing: the table of mobile results has neither dataset nor transform."""
        return {}

    def hyperparameters(self, trial: Trial) -> dict[str, Any]:
        return self._values(trial.uid) | {"transform": trial.transform}

    def _values(self, uid: str) -> dict[str, Any]:
        """Return the hyperparameters that are stored under a uid; read once, because trials share one."""
        if uid not in self._known_values:
            with self._opened() as connection:
                values = {name: value for name, value, _ in connection.execute(_VALUES, (uid,))}
            self._known_values[uid] = {
                name: _as_recorded(name, value) for name, value in hyperparameters_of(values).items()
            }
        return self._known_values[uid]

    def model_code(self, name: str) -> str:
        return self._code("nn", name)

    def transform_code(self, name: str) -> str:
        return self._code("transform", name)

    def _code(self, table: str, name: str) -> str:
        with self._opened() as connection:
            row = connection.execute(f"SELECT code FROM {table} WHERE name = ?", (name,)).fetchone()  # noqa: S608
        if row is None:
            raise CatalogError(f"{self.path} no longer has {table} {name}; run `nnlite models` again")
        return text_of(row[0].encode())

    @cached_property
    def _connection(self) -> sqlite3.Connection:
        uri = f"{self.path.resolve().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=self._timeout_s, check_same_thread=False)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._connection
        except sqlite3.Error as error:
            raise CatalogError(
                f"{self.path} is not a LEMUR database built by nn-dataset: {error}; "
                "point NNLITE_LEMUR to another one, a wheel or a checkout"
            ) from error


def _as_recorded(name: str, value: Any) -> Any:
    """Undo the column's numeric affinity, which stores 1.0 as the integer 1."""
    return float(value) if isinstance(value, int) and isinstance(DEFAULTS.get(name, 0.5), float) else value
