"""Migrations make exactly the tables of the code, and can be taken back."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from integration.canned import finish_benchmark, finish_conversion, measurement
from integration.conftest import Cluster
from nnlite.campaigns import reproduce
from nnlite.db import engine as engine_module
from nnlite.db.engine import DatabaseError, check_schema, downgrade, engine_for, upgrade
from nnlite.db.schema import revisions
from nnlite.db.tables import Base


def test_migrations_and_tables_agree(database_url: str) -> None:
    engine = engine_for(database_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_views_can_be_queried(database_url: str) -> None:
    engine = engine_for(database_url)
    with engine.connect() as connection:
        for view in (
            "latency",
            "campaign_progress",
            "failure_summary",
            "op_support",
            "device_overview",
            "device_incident",
            "measurement_run",
            "device_duplicate",
            "device_variation",
            "suspect_span",
            "device_canary_change",
            "campaign_digest",
            "operator_profile",
            "operator_type_profile",
            "delegate_refusals",
            "sustained",
            "sustained_series",
            "hardware_counters",
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


def test_devices_and_incidents_of_the_first_release_are_kept_and_named(bare_database_url: str) -> None:
    upgrade(bare_database_url, "0001")
    engine = engine_for(bare_database_url)
    with engine.begin() as connection:
        connection.execute(text(_FIRST_RELEASE))
    upgrade(bare_database_url)
    with engine.connect() as connection:
        incidents = _rows(connection, "SELECT * FROM incident ORDER BY id")
        (device,) = _rows(connection, "SELECT * FROM device_overview")
    assert [(row["fault"], row["reason"], row["healed"]) for row in incidents] == [
        ("process_died", "the measuring process was killed", True),
        ("wrong_canary", "host-lab computes the canary wrongly", True),
        ("process_died", "the measuring process hung", False),
    ]
    assert {tuple(row["recovery_steps"]) for row in incidents} == {("restart", "restart the worker")}
    healed, replaced, still_open = incidents
    assert (healed["healed_at"] - healed["created_at"]).total_seconds() == 2.5
    assert replaced["healed_at"] == still_open["created_at"], "the device was ready again by then"
    assert (device["device"], device["state"], device["incidents"], device["open_incidents"]) == (
        "host-lab", "ready", 3, 1,
    )  # fmt: skip
    assert device["state_since"] == device["seen_at"]
    engine.dispose()


def test_a_downgrade_drops_data_that_the_first_release_cannot_store(bare_database_url: str) -> None:
    upgrade(bare_database_url)
    engine = engine_for(bare_database_url)
    with engine.begin() as connection:
        connection.execute(text(_LATER_RELEASE))
    downgrade(bare_database_url, "0001")
    with engine.connect() as connection:
        assert _rows(connection, "SELECT name, context FROM device") == [{"name": "avd:new", "context": {}}]
        assert _rows(connection, "SELECT fault FROM incident") == [{"fault": "no boot within 300 s"}]
    assert not set(inspect(engine).get_view_names()) & {"device_overview", "device_incident"}
    upgrade(bare_database_url)
    check_schema(engine)
    engine.dispose()


def test_a_downgrade_keeps_the_measurement_with_the_fewest_threads(cluster: Cluster) -> None:
    submitted = cluster.submit("one", pools=("phones",), threads=(2, 4))
    (message,) = finish_conversion(cluster, cluster.conversion(submitted.id)["id"])
    finish_benchmark(cluster, message.row_id, measurement(threads=2), measurement(threads=4))
    url = str(cluster.settings.database_url)
    downgrade(url, "0010")
    (measured,) = cluster.rows("SELECT to_jsonb(x) AS columns FROM measurement x")
    assert "threads" not in measured["columns"]
    (stored,) = cluster.rows("SELECT report FROM benchmark")
    assert [each["threads"] for each in stored["report"]["measurements"]] == [2]
    upgrade(url)
    assert cluster.rows("SELECT threads FROM measurement") == [{"threads": 2}], "as reported"


def test_a_downgrade_drops_reproductions_which_would_count(cluster: Cluster) -> None:
    submitted = cluster.submit("one", pools=("phones",))
    (message,) = finish_conversion(cluster, cluster.conversion(submitted.id)["id"])
    finish_benchmark(cluster, message.row_id)
    finish_benchmark(cluster, reproduce.start(cluster.engine, cluster.broker, message.row_id))
    url = str(cluster.settings.database_url)
    downgrade(url, "0012")
    assert cluster.rows("SELECT benchmark_id FROM measurement") == [{"benchmark_id": message.row_id}]
    upgrade(url)


def test_a_database_that_is_not_migrated_raises(bare_database_url: str) -> None:
    engine = engine_for(bare_database_url)
    with pytest.raises(DatabaseError, match="is not migrated; run `nnlite db upgrade`"):
        check_schema(engine)
    engine.dispose()


@pytest.mark.parametrize(
    ("version", "hint"),
    [("0001", "run `nnlite db upgrade`"), ("9999", "it was created by a newer nnlite; install that version")],
)
def test_a_database_of_another_version_raises(database_url: str, version: str, hint: str) -> None:
    engine = engine_for(database_url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{version}'"))
    with pytest.raises(DatabaseError, match=rf"has schema {version}, this nnlite needs \d+; {hint}$"):
        check_schema(engine)
    engine.dispose()


def test_a_database_of_a_newer_version_is_not_brought_to_this_one(database_url: str) -> None:
    engine = engine_for(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(
        DatabaseError, match=r"cannot be brought to this version: .*9999.*; it was created by a newer"
    ):
        upgrade(database_url)
    engine.dispose()


def test_errors_never_contain_the_password() -> None:
    engine = engine_for("postgresql://someone:secret@127.0.0.1:1/none", 1)
    with pytest.raises(DatabaseError) as caught:
        check_schema(engine)
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


_FIRST_RELEASE = """
INSERT INTO device (id, name, kind, pool, state, owner_node, context, seen_at)
VALUES ('00000000-0000-0000-0000-000000000001', 'host-lab', 'host', 'host', 'ready', 'benchmark@lab', '{}',
        '2026-11-01');
INSERT INTO incident (device_id, fault, rungs, healed, duration_ns, created_at)
SELECT id, fault, '{restart,start the worker anew}', healed, duration,
       '2026-11-02'::timestamptz + hour * interval '1 h'
FROM device, (VALUES (1, 'the measuring process was killed', true, 2500000000),
                     (2, 'host-lab computes the canary wrongly', false, 0),
                     (3, 'the measuring process hung', false, 0)) AS v (hour, fault, healed, duration)
"""

_LATER_RELEASE = """
INSERT INTO device (id, name, kind, pool, state, recovery_step)
VALUES ('00000000-0000-0000-0000-000000000001', 'avd:new', 'emulator', 'pixel4', 'quarantined', 'wipe');
INSERT INTO incident (device_id, fault, reason, recovery_steps, healed, duration_ns)
SELECT id, 'boot_timeout', 'no boot within 300 s', '{}', false, 0 FROM device
"""


def _rows(connection: Connection, statement: str) -> list[dict[str, object]]:
    return [dict(row) for row in connection.execute(text(statement)).mappings()]


def test_revisions_are_those_that_alembic_knows():
    scripts = ScriptDirectory.from_config(engine_module._alembic_config("postgresql://"))
    assert revisions() == sorted(script.revision for script in scripts.walk_revisions())
    assert revisions()[-1] == scripts.get_current_head()
