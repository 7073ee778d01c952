"""The reference page of the database: views and tables, from a database with this release's schema."""

import ast
import inspect
import tempfile
import tomllib
from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, text

from docs_site.markdown import code, table
from nnlite.db import tables
from nnlite.db.engine import check_schema, engine_for
from nnlite.db.reader import migrate_embedded
from nnlite.local import servers
from nnlite.reports.schema import MeasurementReport
from nnlite.settings import Settings, load_settings

_INTRODUCTION = """# Database

Generated from a database with this release's schema. `nnlite db psql` opens it. Durations are nanoseconds
(`_ns`), memory is kB (`_kb`, 1,024 bytes). Ask the views: tables change with the code. [Querying
results](../guides/querying.md) has examples.
"""

#: What each view is for.
VIEWS: Final[Mapping[str, str]] = {
    "latency": "The result that counts of each artifact, pool, backend and number of threads.",
    "measurement_run": "All results: one row per measurement, `best` where it is the one that counts.",
    "campaign_progress": "One row per campaign: its models and artifacts by state.",
    "failure_summary": "How many rows of each campaign have no result, by class, stage and reason.",
    "op_support": "Operators of networks: how many models have each, by precision and parity.",
    "device_overview": "One row per device: state, owner, last canary, last incident.",
    "device_incident": "One row per incident: fault, recovery steps, seconds until recovered.",
    "device_variation": "How much a device's results differ within a run, between runs and between days.",
    "device_duplicate": "Pairs of consecutive valid runs of one artifact on one device.",
    "device_canary_change": "Lasting changes of the canary of a device.",
    "campaign_digest": "One hash over the manifests of each campaign.",
    "operator_profile": "Every operator of every profile: type, node, delegate, time, share.",
    "delegate_refusals": "Operators that a delegate left to another kernel, of every measurement.",
    "operator_type_profile": "The times of each profile, added up by type of operator.",
    "sustained": "Every pass of continuous inference: latency at first, plateau, time between.",
    "sustained_series": "The latency of each second of these passes.",
    "hardware_counters": "What phones' processors counted of an inference, by event.",
    "suspect_span": "When results of a device were suspect: between duplicates that disagree.",
}

#: Meanings of columns of views that no table and no report documents.
_ADDED: Final = Path(__file__).with_name("columns.toml")

_COLUMNS: Final = """
SELECT c.relname, c.relkind = 'v', a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('v', 'r')
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum
"""

Columns = dict[str, dict[str, str]]


def database_page() -> str:
    """Return the page: every view, then every table, with the types and meanings of their columns."""
    with _engine() as engine:
        views, stored = _columns(engine)
    comments, classes = _comments(), {mapper.class_ for mapper in tables.Base.registry.mappers}
    by_table = {str(class_.__tablename__): class_ for class_ in classes}
    of_views = _of_views(comments)
    parts = [_INTRODUCTION, "## Views\n"]
    for name in sorted(views, key=[*VIEWS].index):
        parts += [f"### {name}\n", f"{VIEWS[name]}\n", _table(views[name], of_views)]
    parts.append("## Tables\n")
    for name, columns in stored.items():
        if class_ := by_table.get(name):
            parts += [f"### {name} (table)\n", f"{inspect.getdoc(class_) or ''}\n"]
            parts.append(_table(columns, comments.get(class_.__name__, {})))
    return "\n".join(parts)


def _columns(engine: Engine) -> tuple[Columns, Columns]:
    """Return the columns and their types of every view, and of every table."""
    views: Columns = {}
    stored: Columns = {}
    with engine.connect() as connection:
        for relation, is_view, column, kind in connection.execute(text(_COLUMNS)):
            (views if is_view else stored).setdefault(relation, {})[column] = kind
    return views, stored


def _table(columns: Mapping[str, str], meanings: Mapping[str, str]) -> str:
    rows = [(code(name), kind, meanings.get(name, "")) for name, kind in columns.items()]
    return table(("column", "type", "meaning"), rows)


def _comments() -> dict[str, dict[str, str]]:
    """Return, for each class of `nnlite.db.tables`, the comments behind its columns."""
    source = Path(inspect.getfile(tables)).read_text(encoding="utf-8")
    lines = source.splitlines()
    comments: dict[str, dict[str, str]] = {}
    for class_ in (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)):
        for node in class_.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                # A comment before the column, or behind its last line.
                _, mark, comment = lines[(node.end_lineno or node.lineno) - 1].partition("  # ")
                above = lines[node.lineno - 2].strip()
                comment = comment if mark else above.removeprefix("#:") if above.startswith("#:") else ""
                if comment:
                    comments.setdefault(class_.name, {})[node.target.id] = comment.strip()
    return comments


def _of_views(comments: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the meanings of the columns of views: of results, and what `columns.toml` adds."""
    reported = {name: field.description or "" for name, field in MeasurementReport.model_fields.items()}
    stored = [dict(comments.get(class_, {})) for class_ in ("Device", "Model", "Artifact", "Measurement")]
    return dict(ChainMap(tomllib.loads(_ADDED.read_text(encoding="utf-8")), *reversed(stored), reported))


@contextmanager
def _engine() -> Iterator[Engine]:
    """Open the database that the settings name, or an embedded one that lasts as long as this."""
    settings = load_settings()
    with tempfile.TemporaryDirectory(prefix="nnlite-docs-") as home:
        Path(home).chmod(0o755)  # run by root, the servers have an account of their own
        if settings.database_url is None:
            settings = Settings(home=Path(home), _env_file=None)
        with servers(settings) as endpoints:
            migrate_embedded(settings, endpoints.database_url)
            engine = engine_for(endpoints.database_url, settings.database_timeout_s)
            try:
                check_schema(engine)
                yield engine
            finally:
                engine.dispose()
