"""Store who submitted a campaign"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("campaign", sa.Column("submitted_by", sa.Text()))


def downgrade() -> None:
    op.drop_column("campaign", "submitted_by")
