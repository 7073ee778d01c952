"""End to end on this machine: models per hour, and a campaign from the cache.

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

from nnlite.db.engine import autocommit, engine_for
from nnlite.local import servers
from nnlite.settings import Settings

MODELS = 20
SEED = 11
_TIMEOUT_S = 1800

_COUNTS = text("""
SELECT name, models, converted, from_cache, measured FROM campaign_progress ORDER BY created_at
""")


def run(models: int = MODELS) -> dict[str, Any]:
    """Return models per hour, and seconds of the cached campaign; everything is in a home of its own."""
    with tempfile.TemporaryDirectory(prefix="nnlite-benchmark-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        return run_in(home, models)


def run_in(home: Path, models: int) -> dict[str, Any]:
    """Return the same for a home whose cache is empty."""
    first_s = _campaign(home, "first", models)
    cached_s = _campaign(home, "cached", models)
    settings = Settings(home=home, database_url=None, broker_url=None, _env_file=None)
    with servers(settings) as endpoints:
        engine = engine_for(endpoints.database_url)
        with autocommit(engine) as connection:
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
        "first_to_cached_ratio": round(first_s / cached_s, 1),
    }


def _campaign(home: Path, name: str, models: int) -> float:
    """Run a campaign and return its seconds, starting and stopping everything included."""
    # One run of each model, so that the rates of a quiet and a busy machine can be compared.
    environment = dict(os.environ) | {
        "NNLITE_HOME": str(home),
        "NNLITE_MEASUREMENT__NOISY_REPEATS": "0",
        "NNLITE_MEASUREMENT__AUDIT_SHARE": "0",
    }
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
