"""End to end on this machine: models per hour, what orchestration costs, and a campaign from the cache.

`nnlite run` on a seeded sample, as a user runs it; then the same models under
another name, for which everything is in the cache of conversions.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import text

from nnlite.local import servers
from nnlite.results.database import autocommit, engine_for
from nnlite.settings import Settings

MODELS = 20
SEED = 11
_TIMEOUT_S = 1800

# What an attempt took beside the stages of its child: claim, cache, fork, storing, writing.
_OVERHEAD = text("""
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY overhead_s) * 1000 AS median_ms FROM (
    SELECT extract(epoch FROM a.ended_at - a.started_at)
           - (SELECT sum(value::bigint) / 1e9 FROM jsonb_each_text(a.details -> 'timings_ns')) AS overhead_s
    FROM attempt a
    WHERE a.kind = 'conversion' AND a.outcome = 'done' AND a.details -> 'timings_ns' IS NOT NULL
) o
""")
_COUNTS = text("""
SELECT name, models, converted, from_cache, measured FROM campaign_progress ORDER BY created_at
""")


def run(models: int = MODELS) -> dict[str, Any]:
    """Return models per hour, seconds of the cached campaign, and the overhead of a conversion."""
    with tempfile.TemporaryDirectory(prefix="nnlite-benchmark-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        first_s = _campaign(home, "first", models)
        cached_s = _campaign(home, "cached", models)
        settings = Settings(home=home, database_url=None, broker_url=None, _env_file=None)
        with servers(settings) as endpoints:
            engine = engine_for(endpoints.database_url)
            with autocommit(engine) as connection:
                overhead_ms = connection.scalar(_OVERHEAD)
                first, cached = connection.execute(_COUNTS).mappings()
            engine.dispose()
    return {
        "models": models,
        "measured": first["measured"],
        "seconds": round(first_s, 1),
        "models_per_hour": round(models / first_s * 3600),
        "cached_seconds": round(cached_s, 1),
        "cached_from_cache": cached["from_cache"],
        "cached_models_per_hour": round(models / cached_s * 3600),
        "conversion_overhead_ms": round(float(overhead_ms), 1),
    }


def _campaign(home: Path, name: str, models: int) -> float:
    """Run a campaign and return its seconds, starting and stopping everything included."""
    environment = dict(os.environ) | {"NNLITE_HOME": str(home)}
    command = [sys.executable, "-m", "nnlite.cli", "run", "--limit", str(models), "--seed", str(SEED)]
    started = time.monotonic()
    subprocess.run(
        [*command, "--name", name],
        env=environment,
        check=True,
        timeout=_TIMEOUT_S,
        stdout=subprocess.DEVNULL,
    )
    return time.monotonic() - started


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else MODELS), indent=2))
