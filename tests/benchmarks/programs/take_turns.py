"""Times one artifact in the host's LiteRT and in the app's library, in turns; prints both medians as JSON.

`take_turns.py LIBRARY ARTIFACT TURNS TURN_S LOG`: one thread, on one core; LOG gets the library's log.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from nnlite.artifacts.inputs import raw_bytes, seeded_input
from nnlite.host.tflite_library import TfliteInterpreter, TfliteLibrary
from nnlite.host.tflite_weights import weights_inside

#: Of each turn: the other runtime's weights are in the cache at first.
UNTIMED = 1


def main() -> None:
    """Take turns and print the medians, nanoseconds."""
    library, artifact, turns, turn_s, log = sys.argv[1:]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ["NNLITE_ANDROID_LOG"] = log
    host = Interpreter(artifact, num_threads=1)
    host.allocate_tensors()
    with tempfile.TemporaryDirectory() as folder:
        readable = weights_inside(Path(artifact), Path(folder) / "weights_inside.tflite")
        app = TfliteInterpreter(TfliteLibrary(Path(library)), readable)
    app.allocate()
    inputs = []
    for number, detail in enumerate(host.get_input_details()):
        tensor = seeded_input(detail["shape"].tolist(), np.dtype(detail["dtype"]).name, seed=number)
        host.set_tensor(detail["index"], tensor)
        inputs.append(raw_bytes(tensor))
    app.fill(inputs)
    samples: dict[str, list[int]] = {"host_ns": [], "app_ns": []}
    calls: list[tuple[str, Callable[[], object]]] = [("host_ns", host.invoke), ("app_ns", app.invoke)]
    for number in range(int(turns)):
        # Who is first changes, so that a machine that becomes slower meets both.
        for name, invoke in calls if number % 2 else reversed(calls):
            samples[name] += turn(invoke, float(turn_s))
    print(json.dumps({name: median(of) for name, of in samples.items()}))
    sys.stdout.flush()
    os._exit(0)  # neither runtime has anything to write


def turn(invoke: Callable[[], object], seconds: float) -> list[int]:
    """Run for so long, at least once, and return the times, nanoseconds."""
    for _ in range(UNTIMED):
        invoke()
    times, left_ns = [], seconds * 1e9
    while left_ns > 0 or not times:
        began_ns = time.perf_counter_ns()
        invoke()
        times.append(time.perf_counter_ns() - began_ns)
        left_ns -= times[-1]
    return times


if __name__ == "__main__":
    main()
