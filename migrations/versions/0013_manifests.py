"""Store manifests of measurements, show digests of campaigns; a reproduction is no result that counts"""

import sqlalchemy as sa
from alembic import op

from nnlite.db.replacing_views import changed, replace_views, result_views

revision = "0013"
down_revision = "0012"
#: The last revision before this one that changed the views of results.
VIEWS_OF = "0011"

#: Of the manifests of a campaign, without runs that only reproduce a result: they leave its digest as it was.
CAMPAIGN_DIGEST = """
CREATE VIEW campaign_digest AS
SELECT c.id AS campaign_id, c.name AS campaign, count(x.id) AS measurements, count(x.manifest) AS manifests,
       encode(sha256(convert_to(string_agg(x.hash, '' ORDER BY x.hash COLLATE "C"), 'UTF8')), 'hex') AS digest
FROM campaign c LEFT JOIN (
    SELECT b.campaign_id, m.id, m.manifest, encode(sha256(convert_to(m.manifest, 'UTF8')), 'hex') AS hash
    FROM measurement m JOIN benchmark b ON b.id = m.benchmark_id WHERE b.purpose <> 'reproduce'
) x ON x.campaign_id = c.id
GROUP BY c.id, c.name
"""
#: Which run of an artifact counts: before, after. A reproduction never replaces a result.
BEST = ("ORDER BY array_position(", "ORDER BY b.purpose = 'reproduce', array_position(")


def views() -> dict[str, str]:
    """Return the views of results as of this revision, in order of creation."""
    return changed(result_views(VIEWS_OF), BEST)


def upgrade() -> None:
    op.add_column("measurement", sa.Column("manifest", sa.Text(), nullable=True))
    op.execute(CAMPAIGN_DIGEST)
    replace_views(views())


def downgrade() -> None:
    # The views before count every run: without this a reproduction would replace a result.
    op.execute("DELETE FROM benchmark WHERE purpose = 'reproduce'")
    replace_views(result_views(VIEWS_OF))
    op.execute("DROP VIEW campaign_digest")
    op.drop_column("measurement", "manifest")
