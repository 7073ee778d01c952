"""Runs migrations on the caller's database."""

from alembic import context

from nnlite.db.engine import engine_for
from nnlite.db.tables import Base

engine = engine_for(context.config.attributes["database_url"])
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.execute("SELECT pg_advisory_xact_lock(7202118)")  # several workers may start at once
        context.run_migrations()
engine.dispose()
