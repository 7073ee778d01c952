"""The version of the schema: which one this release needs, and whether a database has it; no driver."""

from pathlib import Path

import nnlite
from nnlite.errors import NnliteError

#: Why the setting of the database cannot be used.
NOT_A_URL = "NNLITE_DATABASE_URL is not a URL; write postgresql://USER@HOST:PORT/NAME"


class DatabaseError(NnliteError):
    """The database cannot be used; the message says why and what to do."""


class SchemaError(DatabaseError):
    """The database has another schema than this version needs."""


def revisions() -> list[str]:
    """Return the revisions of this version, oldest first: the numbers that their files' names begin with."""
    return sorted(file.name.partition("_")[0] for file in (migrations() / "versions").glob("[0-9]*.py"))


def migrations() -> Path:
    """Return the folder of the migrations: in the package, or in the checkout."""
    package = Path(nnlite.__file__).parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"


def check_revision(current: str | None, named: str) -> None:
    """Check that a database has the schema of this version.

    Args:
        current: its revision; None: it was never migrated.

    Raises:
        SchemaError: it has not.
    """
    known = revisions()
    if current is None:
        raise SchemaError(f"the database {named} is not migrated; run `nnlite db upgrade`")
    if current != known[-1]:
        hint = (
            "run `nnlite db upgrade`"
            if current in known
            else "it was created by a newer nnlite; install that version"
        )
        raise SchemaError(f"the database {named} has schema {current}, this nnlite needs {known[-1]}; {hint}")
