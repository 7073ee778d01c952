"""List LEMUR as the settings name it; prints models, seconds (imports included) and peak RSS as JSON."""

import time

started = time.perf_counter()

import json  # noqa: E402
import re  # noqa: E402
from pathlib import Path  # noqa: E402

from nnlite.catalog.lemur.source import LemurSource  # noqa: E402
from nnlite.settings import load_settings  # noqa: E402

models = LemurSource(load_settings()).models()
# Not getrusage: its peak includes the parent's pages at the fork.
peak_kb = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1))
print(
    json.dumps(
        {
            "models": len(models),
            "skipped": sum(model.skipped is not None for model in models),
            "seconds": round(time.perf_counter() - started, 3),
            "peak_rss_mb": round(peak_kb / 1024, 1),
        }
    )
)
