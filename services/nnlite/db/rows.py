"""Rows and records: ids, column values from a dataclass, and a dataclass from a row, field by field.

A record is a plain dataclass, or a table that is mapped as a dataclass, such as `tables.Artifact`.
"""

import uuid
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Final, TypeVar, cast

from pydantic import TypeAdapter

Record = TypeVar("Record")
#: Row ids are UUIDv5 of their natural key in this namespace.
_NAMESPACE: Final = uuid.UUID("6f1d8a52-51cf-5f0e-9d0a-6c1b8d0f7a11")


def row_id(*key: object) -> uuid.UUID:
    """Return the id of the row whose natural key is `key`: equal keys, equal ids."""
    return uuid.uuid5(_NAMESPACE, "\x1f".join(str(part) for part in key))


def to_row(record: Any) -> dict[str, Any]:
    """Return the fields of the record's constructor as column values: enums by value, tuples as lists."""
    return {field.name: _plain(getattr(record, field.name)) for field in fields(record) if field.init}


def from_row(record: type[Record], row: Mapping[str, Any]) -> Record:
    """Make a record from the columns with its fields' names; other columns are ignored.

    Raises:
        pydantic.ValidationError: a column is missing or does not fit its field's type.
        KeyError: a column of a table is missing; its types are the database's, and are not validated again.
    """
    if hasattr(record, "__table__"):  # mapped; importing `tables` takes longer than a listing takes
        names = [field.name for field in fields(cast(Any, record)) if field.init]
        return record(**{name: row[name] for name in names})
    adapter: TypeAdapter[Record] = _adapter(record)  # type: ignore[arg-type]  # mypy: classes have a hash
    return adapter.validate_python(dict(row))


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return to_row(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


_adapter = cache(TypeAdapter)
