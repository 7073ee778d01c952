"""A worker that is killed while it has a job folder: `killed_in_job_dir.py FOLDER` prints the job folder."""

import os
import signal
import sys
from pathlib import Path

from nnlite_conversion.isolation.process_registry import job_dir

with job_dir(Path(sys.argv[1])) as folder:
    (folder / "model.tflite").write_bytes(b"large")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
