"""Measures what a lab stores per model and per measurement: `PYTHONPATH=tools python -m storage`.

Reads the database and the artifact store that the settings name, changes nothing, and prints a Markdown table
(docs/operate/housekeeping.md has one). Bytes of a row are those of its columns as Postgres stores them,
compressed, and of its header; indexes are shared out by the number of bytes.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import fsspec
from sqlalchemy import Connection, text

from nnlite.db.engine import engine_for
from nnlite.db.tables import Base
from nnlite.local import servers
from nnlite.settings import Settings, load_settings

#: What a table grows with.
OF_MODELS: Final = ("model", "code", "conversion", "artifact", "refused_precision")
OF_MEASUREMENTS: Final = ("benchmark", "measurement", "operator_time")
_ROW_BYTES: Final = 28  # header and line pointer


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Counts, and bytes in the database and in the artifact store."""

    models: int
    artifacts: int
    measurements: int
    row_bytes: Mapping[str, int]  # by table, indexes included
    file_bytes: Mapping[str, int]  # in the store: artifacts, reports, outputs

    def lines(self) -> Iterator[tuple[str, int, float]]:
        """Yield each figure: what it is of, how many there are, bytes of one."""
        of_models = sum(self.row_bytes.get(table, 0) for table in OF_MODELS)
        of_measurements = sum(self.row_bytes.get(table, 0) for table in OF_MEASUREMENTS)
        yield "a model, with its conversions, in the database", self.models, of_models / self.models
        yield "an artifact in the store", self.artifacts, self.file_bytes["artifacts"] / self.artifacts
        yield "its outputs in the store", self.artifacts, self.file_bytes["outputs"] / self.artifacts
        yield (
            "a measurement, with its report and samples, in the database",
            self.measurements,
            of_measurements / self.measurements,
        )
        yield "its report in the store", self.measurements, self.file_bytes["reports"] / self.measurements
        rest = sum(self.row_bytes.values()) - of_models - of_measurements
        yield "attempts, devices and canaries, per measurement", self.measurements, rest / self.measurements


def storage(connection: Connection, settings: Settings) -> Storage:
    """Measure the database and the artifact store; there must be a measurement."""
    counts = {
        table: connection.scalar(text(f"SELECT count(*) FROM {table}"))  # noqa: S608
        for table in ("model", "artifact", "measurement")
    }
    if not counts["measurement"]:
        sys.exit("there is no measurement yet: run a campaign first")
    return Storage(
        models=counts["model"] or 0,
        artifacts=counts["artifact"] or 0,
        measurements=counts["measurement"] or 0,
        row_bytes={table.name: _bytes_of(connection, table.name) for table in Base.metadata.sorted_tables},
        file_bytes=_file_bytes(settings.artifacts),
    )


def _bytes_of(connection: Connection, table: str) -> int:
    columns = " + ".join(
        f"coalesce(pg_column_size({column.name}), 0)" for column in Base.metadata.tables[table].c
    )
    statement = f"SELECT count(*), coalesce(sum({_ROW_BYTES} + {columns}), 0)::bigint FROM {table}"  # noqa: S608
    rows, stored = connection.execute(text(statement)).one()
    pages = "SELECT pg_table_size(:name), pg_indexes_size(:name)"
    on_disk, indexes = connection.execute(text(pages), {"name": table}).one()
    # Of a few rows a page of an index is mostly empty.
    return int(stored * (1 + min(indexes / on_disk, 1))) if rows and on_disk else 0


def _file_bytes(url: str) -> dict[str, int]:
    filesystem, root = fsspec.url_to_fs(url)
    sums = dict.fromkeys(("artifacts", "reports", "outputs"), 0)
    for path, size in filesystem.du(root, total=False).items():
        kind = "reports" if "/reports/" in path else "artifacts" if path.endswith(".tflite") else "outputs"
        sums[kind] += size
    return sums


def table(measured: Storage) -> str:
    """Return the figures as Markdown."""
    rows = "".join(
        f"| {name} | {number:,} | {size / 1000:,.1f} kB |\n" for name, number, size in measured.lines()
    )
    return f"| what | measured over | size |\n|---|---|---|\n{rows}"


def main() -> None:
    """Print the table of the cluster that the settings name."""
    settings = load_settings()
    with servers(settings) as endpoints:
        engine = engine_for(endpoints.database_url, settings.database_timeout_s)
        with engine.connect() as connection:
            sys.stdout.write(table(storage(connection, settings)))
        engine.dispose()


if __name__ == "__main__":
    main()
