"""The parent of a measuring process: `measuring_parent.py REQUEST_JSON [fork]` prints stages with their PID.

`fork`: a fork server starts it.
"""

import os
import sys
import threading
from dataclasses import replace

from nnlite.settings.groups import MeasurementSettings
from nnlite_benchmark.host.launching import ForkServer
from nnlite_benchmark.host.process import run_process
from nnlite_benchmark.host.runner import RunRequest

request = replace(RunRequest.from_json(sys.argv[1]), parent_pid=os.getpid())
run_process(
    request,
    MeasurementSettings(initialize_timeout_s=3600, warmup_max_s=3600, max_s=3600, grace_s=3600),
    stop=threading.Event(),
    server=ForkServer(huge_pages=True) if "fork" in sys.argv else None,
    on_stage=lambda stage, pid: print(stage, pid, flush=True),
)
