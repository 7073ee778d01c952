"""Rows of evaluations: the accuracy of artifacts on labelled samples, on the host and on devices."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.dialects.postgresql import insert

from nnlite.db.engine import autocommit, storable
from nnlite.db.rows import from_row, to_row
from nnlite.db.tables import DeviceEvaluation, Evaluation
from nnlite.vocabulary import EvaluateOn

#: Columns that name an evaluation on a device.
DEVICE_KEY = ("artifact_id", "data", "device_id", "backend")
_KEYS = {Evaluation: ("artifact_id", "data"), DeviceEvaluation: DEVICE_KEY}


def evaluated_artifacts(
    engine: Engine, artifacts: Sequence[uuid.UUID], data: str, place: EvaluateOn = EvaluateOn.HOST
) -> set[uuid.UUID]:
    """Return those of `artifacts` whose accuracy on the samples at `data` is known.

    For devices, those whose samples are in the store too.
    """
    values = {"artifacts": list(artifacts), "data": data, "kept": place is EvaluateOn.DEVICE}
    with autocommit(engine) as connection:
        return set(connection.scalars(_EVALUATED, values))


def device_evaluation(engine: Engine, key: Mapping[str, Any], runtime: str) -> DeviceEvaluation | None:
    """Return the accuracy on a device that is known; None: it is not, or of another version of the runtime.

    Args:
        key: the columns `DEVICE_KEY`.
    """
    wanted = select(DeviceEvaluation.__table__).filter_by(**key, runtime=runtime, reason=None)
    with autocommit(engine) as connection:
        row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else from_row(DeviceEvaluation, dict(row))


def record_evaluations(
    connection: Connection, evaluations: Sequence[Evaluation] | Sequence[DeviceEvaluation]
) -> None:
    """Write evaluations, all on hosts or all on devices; a later one of equal key replaces the earlier."""
    if not evaluations:
        return
    table = type(evaluations[0])
    key = _KEYS[table]
    ids = [name for name in key if name.endswith("_id")]
    rows = [storable(to_row(each)) | {name: getattr(each, name) for name in ids} for each in evaluations]
    statement = insert(table)
    replaced = {name: statement.excluded[name] for name in rows[0] if name not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=replaced), rows)


_EVALUATED = text("""
SELECT artifact_id FROM evaluation
WHERE artifact_id = ANY(CAST(:artifacts AS uuid[])) AND data = :data AND reason IS NULL
  AND (inputs IS NOT NULL OR NOT :kept)
""")
