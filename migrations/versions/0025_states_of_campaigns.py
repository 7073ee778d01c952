"""The view of campaigns names their state as `nnlite status` does: active without work left is ended"""

from alembic import context, op

revision = "0025"
down_revision = "0024"

#: The revision that made the view before.
VIEW_OF = "0005"

STATE = """
       CASE WHEN c.state = 'active'
                 AND v.converting + v.conversions_queued + b.measuring + b.benchmarks_queued = 0
            THEN 'ended' ELSE c.state END AS state,"""


def upgrade() -> None:
    op.execute(_replacing(_before().replace(" c.state,", STATE)))


def downgrade() -> None:
    op.execute(_replacing(_before()))


def _before() -> str:
    view: str = context.script.get_revision(VIEW_OF).module.views()["campaign_progress"]
    return view


def _replacing(statement: str) -> str:
    return statement.replace("CREATE VIEW", "CREATE OR REPLACE VIEW")
