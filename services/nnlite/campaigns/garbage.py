"""Finds and deletes what no campaign needs any more: artifacts, models, files; workers may go on meanwhile.

Rows of artifacts are deleted under a lock under which no conversion can be claimed, so that no worker relies
on a row that goes. A file that goes while its model is converted once more is missed by the next benchmark,
which has it converted again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from nnlite.artifacts.store import ArtifactStore, StoredFile
from nnlite.results.reading import Row, rows_of

#: Artifacts that are deleted under one lock. Postgres reads all benchmarks to check each.
_BATCH = 100
#: Files that no row names are kept so long: submits and workers store a file before they write its row.
_YOUNG = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """Garbage: artifacts, models and files that no campaign needs."""

    #: Rows with id and path.
    artifacts: Sequence[Row]
    #: Of their distinct files.
    artifact_bytes: int
    #: Rows of models in no campaign.
    models: int
    #: Files of the store that no row names; empty where they were not looked for.
    files: Sequence[StoredFile]

    @property
    def file_bytes(self) -> int:
        """Size of the files that no row names."""
        return sum(file.size_bytes for file in self.files)

    def __bool__(self) -> bool:
        """Whether anything was found."""
        return bool(self.artifacts or self.models or self.files)


def find_garbage(engine: Engine, store: ArtifactStore | None = None) -> Garbage:
    """Return what no campaign needs.

    Args:
        store: search it for files that no row names; None: do not.

    Raises:
        StoreError: the store is unavailable.
    """
    artifacts = rows_of(engine, _UNNEEDED, {})
    (models,) = rows_of(engine, _COUNT_MODELS, {})
    sizes = {row["path"]: row["size_bytes"] for row in artifacts if not row["shared"]}
    return Garbage(
        artifacts=artifacts,
        artifact_bytes=sum(sizes.values()),
        models=models["number"],
        files=() if store is None else _unknown_files(engine, store),
    )


def delete_garbage(engine: Engine, store: ArtifactStore, garbage: Garbage) -> int:
    """Delete what was found and is still not needed, and return how many artifacts were deleted.

    Raises:
        StoreError: the store is unavailable; what was deleted is deleted, the same call goes on.
    """
    deleted, ids = 0, [row["id"] for row in garbage.artifacts]
    for start in range(0, len(ids), _BATCH):
        with engine.begin() as connection:
            connection.execute(text("LOCK TABLE conversion IN SHARE ROW EXCLUSIVE MODE"))
            rows = connection.execute(_DELETE_ARTIFACTS, {"ids": ids[start : start + _BATCH]}).all()
            connection.execute(_DELETE_CHECKS, {"hashes": [row.sha256 for row in rows]})
            paths = {path for row in rows for path in (row.path, *row.reference_outputs)}
            unnamed = connection.scalars(_UNNAMED, {"paths": sorted(paths)}).all()
        for path in unnamed:
            store.discard(path)
        deleted += len(rows)
    _delete_models(engine)
    for file in garbage.files:
        store.discard(file.path)
    return deleted


def _delete_models(engine: Engine) -> None:
    """Delete models in no campaign, and code of no model; submits wait meanwhile."""
    for statement in (_DELETE_MODELS, _DELETE_CODE):
        while True:
            with engine.begin() as connection:
                # In the order in which a submit writes them.
                for table in ("code", "model"):
                    connection.exec_driver_sql(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
                if not connection.execute(statement, {"batch": _BATCH}).rowcount:
                    break


def _unknown_files(engine: Engine, store: ArtifactStore) -> list[StoredFile]:
    """Return the files of the store that no row names and that are not young."""
    young = datetime.now(UTC) - _YOUNG
    files = [file for file in store.files() if file.modified_at < young]
    known = {row["name"] for row in rows_of(engine, _KNOWN, {})}
    return [file for file in files if _key(file.path) not in known]


def _key(path: str) -> str:
    """Return what a row has of a file's name: the hash, or the beginning of a benchmark's id."""
    name = path.rpartition("/")[2]
    return name.removesuffix(".json")[-8:] if path.startswith("reports/") else name.partition(".")[0]


#: Of an artifact `a`: nothing was or will be measured with it, and no conversion may be about to use it.
_NOT_NEEDED = """
NOT EXISTS (SELECT FROM benchmark b WHERE b.artifact_id = a.id)
AND NOT EXISTS (SELECT FROM conversion v WHERE v.identity = a.identity AND v.state IN ('queued', 'running'))
"""
_UNNEEDED = f"""
SELECT a.id, a.path, a.size_bytes,
       a.path IN (SELECT o.path FROM artifact o JOIN benchmark b ON b.artifact_id = o.id) AS shared
FROM artifact a WHERE {_NOT_NEEDED} ORDER BY a.path
"""  # noqa: S608
_DELETE_ARTIFACTS = text(f"""
DELETE FROM artifact a WHERE id = ANY(:ids) AND {_NOT_NEEDED} RETURNING sha256, path, reference_outputs
""")  # noqa: S608
_DELETE_CHECKS = text("""
DELETE FROM runtime_check WHERE artifact_sha256 = ANY(:hashes)
  AND artifact_sha256 NOT IN (SELECT sha256 FROM artifact)
""")
# The artifact of a pre-built file is the model's own file.
_UNNAMED = text("""
SELECT unnest(CAST(:paths AS text[]))
EXCEPT (
    SELECT path FROM artifact UNION ALL SELECT unnest(reference_outputs) FROM artifact
    UNION ALL SELECT left(m.weights, 2) || '/' || m.weights || m.weights_suffix
    FROM conversion v JOIN model m ON m.id = v.model_id
)
""")
#: Of a model `m`.
_WITHOUT_CAMPAIGN = "NOT EXISTS (SELECT FROM conversion v WHERE v.model_id = m.id)"
_COUNT_MODELS = f"SELECT count(*) AS number FROM model m WHERE {_WITHOUT_CAMPAIGN}"  # noqa: S608
_DELETE_MODELS = text(f"""
DELETE FROM model WHERE id IN (SELECT id FROM model m WHERE {_WITHOUT_CAMPAIGN} LIMIT :batch)
""")  # noqa: S608
_DELETE_CODE = text("""
DELETE FROM code WHERE sha256 IN (
    SELECT sha256 FROM code k
    WHERE NOT EXISTS (SELECT FROM model m WHERE k.sha256 IN (m.code_sha256, m.transform_sha256)) LIMIT :batch
)
""")
# Reports name the outputs of devices by their hashes.
_KNOWN = """
SELECT split_part(split_part(path, '/', 2), '.', 1) AS name FROM artifact
UNION SELECT split_part(split_part(unnest(reference_outputs), '/', 2), '.', 1) FROM artifact
UNION SELECT m.weights FROM conversion v JOIN model m ON m.id = v.model_id
UNION SELECT split_part(split_part(request#>>'{calibration,path}', '/', 2), '.', 1) FROM campaign
UNION SELECT split_part(split_part(request#>>'{evaluation,path}', '/', 2), '.', 1) FROM campaign
UNION SELECT split_part(split_part(inputs, '/', 2), '.', 1) FROM evaluation
UNION SELECT left(id::text, 8) FROM benchmark
UNION SELECT found[1] FROM benchmark, regexp_matches(report::text, '[0-9a-f]{64}', 'g') AS found
"""
