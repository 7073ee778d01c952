"""Migrations make exactly the tables of the code, and can be taken back."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from nnlite.results.database import DatabaseError, check_schema, downgrade, engine_for, upgrade
from nnlite.results.tables import Base


def test_migrations_and_tables_agree(database_url: str) -> None:
    engine = engine_for(database_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_views_can_be_asked(database_url: str) -> None:
    engine = engine_for(database_url)
    with engine.connect() as connection:
        for view in (
            "latency",
            "campaign_progress",
            "failure_summary",
            "op_support",
            "device_overview",
            "device_incident",
        ):
            assert connection.execute(text(f"SELECT * FROM {view}")).all() == []
    engine.dispose()


def test_a_downgrade_leaves_nothing_and_an_upgrade_brings_it_back(database_url: str) -> None:
    engine = engine_for(database_url)
    downgrade(database_url, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    assert inspect(engine).get_view_names() == []
    upgrade(database_url)
    check_schema(engine)
    engine.dispose()


def test_a_database_that_is_not_migrated_is_said(bare_database_url: str) -> None:
    engine = engine_for(bare_database_url)
    with pytest.raises(DatabaseError, match="is not migrated; run `nnlite db upgrade`"):
        check_schema(engine)
    engine.dispose()


def test_a_database_of_another_version_is_said(database_url: str) -> None:
    engine = engine_for(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="has schema 9999"):
        check_schema(engine)
    engine.dispose()


def test_a_password_is_never_said() -> None:
    engine = engine_for("postgresql://someone:secret@127.0.0.1:1/none", 1)
    with pytest.raises(DatabaseError) as caught:
        check_schema(engine)
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)
