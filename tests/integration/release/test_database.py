"""A database of release 0.1 with data in it goes up to this release, and back as it was."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text

from integration.release.database import RECORDED, REVISION, dump, load
from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.db.engine import check_schema, downgrade, engine_for, upgrade
from nnlite.results import queries
from nnlite.results.devices import device_row
from nnlite.results.recording import cached_artifacts, known_refusals
from nnlite.vocabulary import DeviceStatus, Precision
from nnlite_conversion.cache_key import cache_key
from unit.catalog.identities import with_recorded_versions

SQL = (RECORDED / "database.sql").read_text()


@pytest.fixture(scope="module")
def engine(make_database: Callable[..., str]) -> Iterator[Engine]:
    """The recorded database, brought to this release; for tests that change nothing."""
    url = make_database(migrated=False)
    upgrade(url, REVISION)
    engine = engine_for(url)
    load(engine, SQL)
    upgrade(url)
    yield engine
    engine.dispose()


def test_an_upgrade_and_a_downgrade_bring_every_row_back_as_it_was(bare_database_url: str) -> None:
    upgrade(bare_database_url, REVISION)
    engine = engine_for(bare_database_url)
    load(engine, SQL)
    assert dump(engine) == SQL
    upgrade(bare_database_url)
    check_schema(engine)
    downgrade(bare_database_url, REVISION)
    assert dump(engine) == SQL
    upgrade(bare_database_url)
    check_schema(engine)
    engine.dispose()


def test_campaigns_are_as_far_as_they_were(engine: Engine) -> None:
    counts = {
        progress.name: (
            progress.state, progress.models, progress.converted, progress.skipped, progress.measured,
            progress.failed, progress.remaining, progress.precisions_refused,
        )
        for progress in queries.campaigns(engine)
    }  # fmt: skip
    assert counts == {
        "running": ("active", 5, 1, 0, 1, 0, 5, 0),
        "cancelled": ("cancelled", 2, 0, 0, 0, 0, 0, 0),
        "paused": ("paused", 2, 1, 0, 0, 0, 2, 0),
        "prebuilt": ("ended", 1, 1, 0, 1, 0, 0, 0),
        "generation": ("ended", 4, 2, 1, 2, 1, 0, 0),
        "done": ("ended", 8, 4, 2, 5, 7, 0, 1),
    }


def test_what_has_no_result_keeps_its_state_and_its_reason(engine: Engine) -> None:
    rows = [row for row in queries.failures(engine, "done") if row["work"] == "conversion"]
    assert {(row["model"], row["state"], row["class"], row["stage"], row["reason"]) for row in rows} == {
        ("BigNet", "skipped", None, "claim", "901,000,000 parameters are more than 100,000,000"),
        ("Talker", "skipped", None, None,
         "task txt-generation: LEMUR's classifiers and segmentation nets are converted"),
        ("DarkNet", "refused", "model", "quantize", "no scale for BATCH_MATMUL"),
        ("ga-1", "failed", "model", "export", "GuardOnDataDependentSymNode: Could not guard on u0 > 0"),
        ("rl-2", "quarantined", "converter", "lower", "killed by SIGABRT"),
    }  # fmt: skip
    (failed,) = [row for row in rows if row["model"] == "ga-1"]
    assert failed["details"] == {"stderr": "Traceback: 100 % of it"}


def test_measurements_devices_and_checks_are_there(engine: Engine) -> None:
    measured = {
        (row["precision"], row["device"], row["backend"]): (row["verdict"], row["median_ns"])
        for row in queries.latencies(engine, "done", "AlexNet")
    }
    phone = "usb:R58M12ABCDE"
    assert measured == {
        (precision, *where): what
        for precision in ("fp32", "int8")
        for where, what in {
            (phone, "cpu"): ("valid", 12_399_993),
            (phone, "gpu"): ("noisy", 7_099_993),
            (phone, "npu"): ("invalid", None),
            ("host-lab", "cpu"): ("valid", 3_299_993),
        }.items()
    }
    device = device_row(engine, "avd:pixel4-1@lab")
    assert (device.state, device.reason) == (DeviceStatus.QUARANTINED, "not booted within 300 s")
    newest, healed = queries.incidents(engine, "avd:pixel4-1@lab")
    assert (newest["fault"], newest["healed"]) == ("boot_timeout", False)
    assert (healed["fault"], healed["healed"]) == ("offline", True)
    checks = [row["runtime_check"] for row in queries.runtime_checks(engine)]
    assert {"accepted", "refused", "queued", "running"} == set(checks)


def test_artifacts_and_refusals_are_found_by_the_keys_of_this_release(engine: Engine) -> None:
    sklearn = Calibration(kind=CalibrationKind.SKLEARN)
    with engine.connect() as connection:
        identities = {row.name: row.identity for row in connection.execute(text("SELECT * FROM model"))}
    with with_recorded_versions():
        keys = {
            (name, precision): cache_key(identities[name], precision, sklearn)
            for name in ("AlexNet", "DarkNet")
            for precision in (Precision.FP32, Precision.INT8)
        }
    found = {
        artifact.cache_key: artifact.precision for artifact in cached_artifacts(engine, [*keys.values()])
    }
    (refused,) = known_refusals(engine, [*keys.values()])
    assert refused.cache_key == keys.pop(("DarkNet", Precision.INT8))
    assert found == {key: precision for (_, precision), key in keys.items()}


def test_new_rows_are_numbered_on(engine: Engine) -> None:
    with engine.connect() as connection:
        newest = connection.scalar(text("SELECT max(id) FROM attempt"))
        assert connection.scalar(text(_NEXT_ATTEMPT)) == newest + 1
        connection.rollback()


_NEXT_ATTEMPT = """
INSERT INTO attempt (kind, work_id, campaign_id, number, owner_node, owner_instance)
SELECT 'conversion', gen_random_uuid(), id, 1, 'convert@lab', 'lab/1' FROM campaign LIMIT 1 RETURNING id
"""
