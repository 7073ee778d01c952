"""Verifies measurements: compares rows and files, and has the benchmark worker's code derive each again."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from tempfile import TemporaryFile
from typing import Any

import orjson
from sqlalchemy import Engine

from nnlite.artifacts.store import ArtifactStore
from nnlite.errors import NnliteError
from nnlite.reports.differences import Difference
from nnlite.results.manifest import VERSION, text_hash, whole_report
from nnlite.results.verification import (
    Row,
    Selection,
    StoredFiles,
    manifest_differences,
    manifest_version,
    report_differences,
    rows_to_verify,
    unreadable_parts,
)
from nnlite.settings.passwords import without_credentials

NO_MANIFEST = "no manifest: measured by a release that wrote none"
OTHER_VERSION = "measured by a release with another protocol: only rows, report and files are compared"


class Outcome(StrEnum):
    """What the verification of a measurement has shown."""

    VERIFIED = "verified"  # everything that can be derived is as stored
    DIFFERENT = "different"
    NO_MANIFEST = "no manifest"  # nothing was derived


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A measurement after its verification."""

    measurement: uuid.UUID
    benchmark: uuid.UUID
    campaign: str
    model: str
    precision: str
    pool: str
    backend: str
    threads: int
    run: int
    outcome: Outcome
    #: Of its manifest; None: it has none.
    sha256: str | None
    differences: tuple[Difference, ...] = ()
    #: What could not be derived, and why.
    notes: tuple[str, ...] = ()


#: Sends a question in JSON to a program of a worker, and returns its answer.
Ask = Callable[[bytes], dict[str, Any]]


def verify(engine: Engine, store: ArtifactStore, selection: Selection) -> Iterator[Verified]:
    """Verify measurements one by one, in the order of campaigns and models.

    Raises:
        NnliteError: a program of a worker ended.
        StoreError: the artifact store cannot be used.
    """
    files = StoredFiles(store)
    with (
        _program("nnlite_benchmark.verify") as measurements,
        _program("nnlite_conversion.verify") as artifacts,
    ):
        for row in rows_to_verify(engine, selection):
            if row["manifest"] is None:
                yield _verified(row, Outcome.NO_MANIFEST, (), (NO_MANIFEST,))
                continue
            if unreadable := unreadable_parts(row):
                yield _verified(row, Outcome.DIFFERENT, unreadable, ())
                continue
            found, notes = [*report_differences(row), *files.differences(row)], [OTHER_VERSION]
            if (version := manifest_version(row)) is None:
                found.append(Difference(field="manifest.version", stored=None, derived=VERSION))
            elif version == VERSION:
                outputs = orjson.dumps(files.of_outputs(row), default=str)
                derived = measurements(b'{"report":%b,"files":%b}' % (whole_report(row), outputs))
                parity = artifacts(orjson.dumps(row["artifact"]))
                found += manifest_differences(row)
                found += [Difference(**each) for each in derived["differences"] + parity["differences"]]
                notes = derived["notes"]
            outcome = Outcome.DIFFERENT if found else Outcome.VERIFIED
            yield _verified(row, outcome, tuple(found), tuple(notes))


def _verified(row: Row, outcome: Outcome, found: tuple[Difference, ...], notes: tuple[str, ...]) -> Verified:
    return Verified(
        measurement=row["id"],
        benchmark=row["benchmark_id"],
        campaign=row["campaign"],
        model=row["model_name"],
        precision=row["artifact"]["precision"],
        pool=row["pool"],
        backend=row["backend"],
        threads=row["threads"],
        run=row["run"],
        outcome=outcome,
        sha256=None if row["manifest"] is None else text_hash(row["manifest"]),
        differences=found,
        notes=notes,
    )


@contextmanager
def _program(module: str) -> Iterator[Ask]:
    """Run a program of a worker that answers each line of its input by one line; yields what asks it."""
    with (
        TemporaryFile() as errors,
        subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=without_credentials(os.environ),
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None  # noqa: S101  (for mypy)
        questions, answers = process.stdin, process.stdout

        def ask(question: bytes) -> dict[str, Any]:
            # A question is read before it is answered, and answered before the next: no pipe fills up. No
            # deadline: an answer is arithmetic over one row.
            try:
                questions.write(question + b"\n")
                questions.flush()
                answer: dict[str, Any] = orjson.loads(answers.readline())
            except (OSError, orjson.JSONDecodeError):
                errors.seek(0)
                last = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise NnliteError(f"the program {module} ended: {last}") from None
            return answer

        yield ask
