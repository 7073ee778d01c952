"""Rows and records: a database row made from a dataclass, and a dataclass made from a row, field by field."""

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

from psycopg2.extras import Json
from pydantic import TypeAdapter

Record = TypeVar("Record")


def to_row(record: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as column values: dicts as JSON, tuples as arrays."""
    return {field.name: _column(getattr(record, field.name)) for field in fields(record)}


def from_row(record: type[Record], row: Mapping[str, Any]) -> Record:
    """Make a dataclass from the columns of its name; other columns are ignored.

    Raises:
        pydantic.ValidationError: a column is missing or does not fit its field's type.
    """
    adapter: TypeAdapter[Record] = _adapter(record)  # type: ignore[arg-type]  # mypy: classes have a hash
    return adapter.validate_python(dict(row))


def _column(value: Any) -> Any:
    if isinstance(value, dict):
        return Json(value)
    return list(value) if isinstance(value, tuple) else value


@cache
def _adapter(record: type) -> TypeAdapter[Any]:
    return TypeAdapter(record)
