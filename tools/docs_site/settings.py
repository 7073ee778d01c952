"""The reference page of the settings, from their classes."""

import inspect
from collections.abc import Iterator, Sequence

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs_site.markdown import code, table
from nnlite.settings import PREFIX, Settings
from nnlite.settings.groups import Group

_INTRODUCTION = f"""# Settings

Generated from their classes. Each is an environment variable or a line of `.env`; `{PREFIX}SECRETS_FILE`
names a `.env` of mode 0600 for credentials. Lists are JSON: `{PREFIX}CATALOG__EXCLUDE='["ga-*"]'`. `nnlite
doctor --settings` lists the values in force, and an unknown name is an error.
"""


def settings_page() -> str:
    """Return the page: one section per group, with meaning, default and limits of each setting."""
    groups = {name: kind for name, field in Settings.model_fields.items() if (kind := _group(field))}
    own = {name: field for name, field in Settings.model_fields.items() if name not in groups}
    sections = [_INTRODUCTION, "## General\n", _table(PREFIX, own)]
    for name, group in groups.items():
        title = name.replace("_", " ").capitalize()
        text = inspect.getdoc(group) or ""
        sections += [f"## {title}\n", f"{text}\n", _table(f"{PREFIX}{name.upper()}__", group.model_fields)]
    return "\n".join(sections)


def _group(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Group) else None


def _table(prefix: str, fields: dict[str, FieldInfo]) -> str:
    return table(("setting", "default", "meaning"), _rows(prefix, fields))


def _rows(prefix: str, fields: dict[str, FieldInfo]) -> Iterator[Sequence[str]]:
    for name, field in fields.items():
        limits = ", ".join(_limit(constraint) for constraint in field.metadata if _limit(constraint))
        meaning = field.description or ""
        yield code(prefix + name.upper()), _default(field), f"{meaning} ({limits})" if limits else meaning


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "see [get started](../get-started.md)"
    return "" if field.default in {None, ()} else code(field.default)


def _limit(constraint: object) -> str:
    words = {"gt": ">", "ge": "at least", "lt": "<", "le": "at most", "multiple_of": "multiple of"}
    name, word = next(((name, word) for name, word in words.items() if hasattr(constraint, name)), ("", ""))
    return f"{word} {getattr(constraint, name):g}" if name else ""
