"""What Prometheus asks: workers count (`meter`), `reaper` looks (`cluster`), both answer by HTTP (`serving`).

Nothing of it runs, and prometheus-client is not even imported, unless NNLITE_METRICS__PORT is set. What the
metrics mean stands in `deploy/monitoring.md`.
"""
