"""What migrations share that add columns to tables and show them in views; their SQL is in them.

A view cannot get a column in the middle: it is dropped and created again, with the views that select from it.
Only migrations import this module, those of databases in use among them: what a function does stays the same.
"""

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from alembic import context, op

#: The views of results; the second selects from the first.
RESULTS: Final = ("measurement_run", "latency")


def result_views(revision: str) -> dict[str, str]:
    """Return the views of results as a revision creates them, in order of creation.

    Args:
        revision: its module has a function `views`, which returns the statements by name.
    """
    views = context.script.get_revision(revision).module.views()
    return {name: views[name] for name in RESULTS}


def changed(views: Mapping[str, str], *changes: tuple[str, str]) -> dict[str, str]:
    """Return `views` with parts of their statements replaced: (before, after), one after another."""
    statements = dict(views)
    for before, after in changes:
        statements = {name: statement.replace(before, after) for name, statement in statements.items()}
    return statements


def replace_views(views: dict[str, str]) -> None:
    """Drop the views of these names, and create them by these statements, in this order."""
    for name in reversed(views):
        op.execute(f"DROP VIEW {name}")
    for statement in views.values():
        op.execute(statement)


def add_columns(table: str, columns: Mapping[str, Any]) -> None:
    """Add nullable columns to a table: their names, and SQLAlchemy's types."""
    for name, kind in columns.items():
        op.add_column(table, sa.Column(name, kind, nullable=True))


def drop_columns(table: str, columns: Mapping[str, Any]) -> None:
    """Drop columns of a table, in the order in which `add_columns` adds them."""
    for name in columns:
        op.drop_column(table, name)
