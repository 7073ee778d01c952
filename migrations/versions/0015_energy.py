"""Store the energy of an inference, with its interval"""

import sqlalchemy as sa
from alembic import context, op

revision = "0015"
down_revision = "0014"

#: The last revision before this one that changed the views of results.
VIEWS_OF = "0013"

COLUMNS = ("energy_uj", "energy_low_uj", "energy_high_uj")
#: Of the view `measurement_run`, which `latency` selects from: before, after.
RUN = ("x.std_ns, x.cv,", "x.std_ns, x.cv, x.energy_uj, x.energy_low_uj, x.energy_high_uj,")
VIEWS = ("measurement_run", "latency")


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return {name: statement.replace(*RUN) for name, statement in _views_before().items()}


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("measurement", sa.Column(name, sa.Float(), nullable=True))
    _replace(views())


def downgrade() -> None:
    _replace(_views_before())
    for name in COLUMNS:
        op.drop_column("measurement", name)


def _replace(views: dict[str, str]) -> None:
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW {name}")
    for name in VIEWS:
        op.execute(views[name])


def _views_before() -> dict[str, str]:
    views: dict[str, str] = context.script.get_revision(VIEWS_OF).module.views()
    return {name: views[name] for name in VIEWS}
