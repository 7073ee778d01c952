"""Every precision, every source, and what the phones' runtime says of an artifact"""

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    _precisions()
    _sources()
    _runtime_checks()


def downgrade() -> None:
    pass


def _precisions() -> None:
    pass


def _sources() -> None:
    pass


def _runtime_checks() -> None:
    pass
