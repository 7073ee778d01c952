"""Celery on Redis for hints, leases in Postgres for the truth, and what heals both."""
