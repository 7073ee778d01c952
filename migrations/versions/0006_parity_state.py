"""Parity of artifacts as a state: ok, off or unknown, and where it is worst"""

from alembic import op

from nnlite.db.replacing_views import RESULTS, changed, result_views

revision = "0006"
down_revision = "0005"

#: Column of the view before, columns after.
STATE = ("a.parity_ok,", "a.parity_state,")
PLACE = (
    "a.parity->>'reason' AS parity_reason,",
    """a.parity->>'reason' AS parity_reason,
       (a.parity->'worst'->>'output')::bigint AS parity_output,
       (a.parity->'worst'->>'axis')::bigint AS parity_axis,
       (a.parity->'worst'->>'index')::bigint AS parity_index,""",
)

# Release 0.1 called an artifact ok of which nothing was compared: every output NaN, constant, or all zero.
_NOTHING_COMPARED = """
UPDATE artifact SET parity_state = 'unknown',
       parity = parity || '{"reason": "release 0.1 compared nothing"}'
WHERE parity_state = 'ok' AND (
    parity->'max_abs' = 'null'
    OR (parity->>'range')::float8 = 0 AND outputs::text LIKE '%"dtype": "float%'
    OR precision IN ('dynamic', 'int8') AND parity->'sqnr_db' = 'null'
)
"""


def upgrade() -> None:
    for name in reversed(RESULTS):
        op.execute(f"DROP VIEW {name}")
    op.execute(
        "ALTER TABLE artifact ALTER parity_ok TYPE text USING CASE parity_ok "
        "WHEN true THEN 'ok' WHEN false THEN 'off' ELSE 'unknown' END"
    )
    op.alter_column("artifact", "parity_ok", new_column_name="parity_state", nullable=False)
    op.execute(_NOTHING_COMPARED)
    op.execute("""
UPDATE artifact SET parity = parity - 'ok' || jsonb_build_object('state', parity_state) WHERE parity ? 'ok'
""")
    for statement in views().values():
        op.execute(statement)


def downgrade() -> None:
    for name in reversed(RESULTS):
        op.execute(f"DROP VIEW {name}")
    op.execute("""
UPDATE artifact SET parity = parity || '{"reason": null}'
WHERE parity_state = 'unknown' AND parity->>'reason' = 'release 0.1 compared nothing'
""")
    op.execute("""
UPDATE artifact SET parity = parity - 'state' || jsonb_build_object('ok', parity_state <> 'off')
WHERE parity ? 'state'
""")
    op.alter_column("artifact", "parity_state", new_column_name="parity_ok", nullable=True)
    # Where there was a network to compare with, release 0.1 knew no other answer than ok or not.
    op.execute(
        "ALTER TABLE artifact ALTER parity_ok TYPE boolean USING CASE "
        "WHEN parity_ok = 'unknown' AND coalesce(parity, 'null') = 'null' THEN NULL "
        "ELSE parity_ok <> 'off' END"
    )
    for statement in result_views(down_revision).values():
        op.execute(statement)


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(down_revision), STATE, PLACE)
