"""Rows of evaluations: the accuracy of artifacts on labelled samples."""

import uuid
from collections.abc import Sequence

from sqlalchemy import Connection, Engine, text
from sqlalchemy.dialects.postgresql import insert

from nnlite.db.engine import autocommit, storable
from nnlite.db.rows import to_row
from nnlite.db.tables import Evaluation

_KEY = ("artifact_id", "data")


def evaluated_artifacts(engine: Engine, artifacts: Sequence[uuid.UUID], data: str) -> set[uuid.UUID]:
    """Return those of `artifacts` whose accuracy on the samples at `data` is known."""
    with autocommit(engine) as connection:
        return set(connection.scalars(_EVALUATED, {"artifacts": list(artifacts), "data": data}))


def record_evaluations(connection: Connection, evaluations: Sequence[Evaluation]) -> None:
    """Write evaluations; a later one of the same artifact and samples replaces the earlier."""
    if not evaluations:
        return
    rows = [storable(to_row(each)) | {"artifact_id": each.artifact_id} for each in evaluations]
    statement = insert(Evaluation)
    replaced = {name: statement.excluded[name] for name in rows[0] if name not in _KEY}
    connection.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=replaced), rows)


_EVALUATED = text("""
SELECT artifact_id FROM evaluation
WHERE artifact_id = ANY(CAST(:artifacts AS uuid[])) AND data = :data AND reason IS NULL
""")
