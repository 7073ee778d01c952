"""Work queue: rows and leases in Postgres hold the state, Celery on Redis carries wake-up messages."""
