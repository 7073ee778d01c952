"""Mark campaigns whose end was said by hooks"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.add_column("campaign", sa.Column("hooks_run_at", postgresql.TIMESTAMP(timezone=True)))
    op.add_column("campaign", sa.Column("hooks_problem", sa.Text()))
    # Those that have ended already are not news.
    op.execute("UPDATE campaign SET hooks_run_at = now()")


def downgrade() -> None:
    op.drop_column("campaign", "hooks_problem")
    op.drop_column("campaign", "hooks_run_at")
