"""The reference page of benchmark reports, from the classes of their schema."""

import inspect
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from docs_site.markdown import code, table
from nnlite.reports.schema import BenchmarkReport, RunReport

_INTRODUCTION = """# Reports

Generated from the schema's classes. A `BenchmarkReport` is stored with each benchmark: in the database
(`benchmark.report`), and next to the artifacts as `reports/CAMPAIGN/MODEL-PRECISION-POOL-ID.json`. A
`RunReport` is what one measuring process, on a host or in the app, hands to its worker. Durations are
integer nanoseconds, memory is kB (1,024 bytes). `report.schema.json` in the package `nnlite.reports` is the
same as JSON Schema.
"""


def reports_page() -> str:
    """Return the page: one section per class, with its fields."""
    classes = dict.fromkeys([*_reachable(BenchmarkReport), *_reachable(RunReport)])
    return "\n".join([_INTRODUCTION, *map(_section, classes)])


def _reachable(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for part in _models(field.annotation):
            yield from _reachable(part)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _section(model: type[BaseModel]) -> str:
    schema = model.model_json_schema(mode="serialization")
    others = schema.get("$defs", {})
    rows = [
        (code(name), _kind(field, others), field.get("description", ""))
        for name, field in schema["properties"].items()
    ]
    text = inspect.getdoc(model) or ""
    return f"## {model.__name__}\n\n{text}\n\n{table(('field', 'type', 'meaning'), rows)}"


def _kind(field: dict[str, Any], others: dict[str, Any]) -> str:
    """Return the type of a field in words; of another class a link to its section."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return _kind(others[name], {}) if "enum" in others.get(name, {}) else f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_kind(part, others) for part in field["anyOf"])
    if "enum" in field:
        return ", ".join(map(code, field["enum"]))
    if "const" in field:
        return code(field["const"])
    if field.get("type") == "array":
        items = field.get("items") or (field.get("prefixItems") or [{}])[0]
        return f"list of {_kind(items, others)}"
    return str(field.get("type", "any"))
