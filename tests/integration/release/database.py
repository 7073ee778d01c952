"""A database as SQL text: written row by row, and loaded again."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, Engine, text

RECORDED = Path(__file__).with_name("recorded")
#: Revision of the schema that release 0.1 had.
REVISION = "0003"
#: Its tables; those that others refer to come first.
TABLES = (
    "code", "model", "campaign", "conversion", "artifact", "refused_precision", "runtime_check", "device",
    "benchmark", "measurement", "attempt", "incident",
)  # fmt: skip


def dump(engine: Engine, tables: Sequence[str] = TABLES) -> str:
    """Return some tables as statements that insert their rows, by primary key, columns by name."""
    with engine.connect() as connection:
        connection.execute(text("SET TIME ZONE 'UTC'"))
        return "".join(_table(connection, table) for table in tables)


def load(engine: Engine, sql: str) -> None:
    """Run what `dump` returned, in one transaction."""
    with engine.begin() as connection:
        connection.exec_driver_sql(sql.replace("%", "%%"))


def _table(connection: Connection, table: str) -> str:
    columns = connection.scalars(text(_COLUMNS), {"table": table}).all()
    keys = connection.scalars(text(_PRIMARY_KEY), {"table": table}).all()
    values = " || ', ' || ".join(f"quote_nullable({column}::text)" for column in columns)
    rows = connection.scalars(text(f"SELECT {values} FROM {table} ORDER BY {', '.join(keys)}")).all()
    if not rows:
        return f"-- {table} is empty\n\n"
    insert = f"INSERT INTO {table} ({', '.join(columns)}) OVERRIDING SYSTEM VALUE VALUES"
    inserted = ",\n".join(f"({row})" for row in rows)
    numbered = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table};\n"
    follows = numbered if connection.scalar(text(_NUMBERED), {"table": table}) else ""
    return f"{insert}\n{inserted};\n{follows}\n"


_COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = :table ORDER BY column_name
"""
_PRIMARY_KEY = """
SELECT column_name FROM information_schema.key_column_usage
WHERE table_name = :table AND constraint_name = 'pk_' || :table ORDER BY ordinal_position
"""
_NUMBERED = """
SELECT count(*) > 0 FROM information_schema.columns
WHERE table_name = :table AND column_name = 'id' AND is_identity = 'YES'
"""
