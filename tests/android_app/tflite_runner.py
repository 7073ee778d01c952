"""Runs artifacts with TensorFlow Lite, in the environment that has the app's version of it.

`python tflite_runner.py CASES.json`: a list of {"artifact", "inputs", "folder"}, paths of .tflite files,
of one .npy file for each input, and of the folder that gets `output_0.npy` ... It writes
`CASES.json.results`: the version, and for each what was refused, null where nothing was. Each artifact
runs in a fork of its own: a runtime that aborts takes one.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

import numpy as np
import tensorflow as tf


def run(case: dict[str, Any]) -> str | None:
    """Run one artifact; return what the runtime refused."""
    try:
        interpreter = tf.lite.Interpreter(model_path=case["artifact"], num_threads=1)
        interpreter.allocate_tensors()
        for detail, file in zip(interpreter.get_input_details(), case["inputs"], strict=True):
            interpreter.set_tensor(detail["index"], np.load(file))
        interpreter.invoke()
        for number, detail in enumerate(interpreter.get_output_details()):
            np.save(Path(case["folder"]) / f"output_{number}.npy", interpreter.get_tensor(detail["index"]))
    except (ValueError, RuntimeError) as error:
        return str(error)
    return None


def run_apart(case: dict[str, Any]) -> str | None:
    """Run one artifact in a fork."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, json.dumps(run(case))[:60_000].encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        return f"the runtime died with wait status {status}"
    result: str | None = json.loads(said)
    return result


def main() -> None:
    """Run the cases that the first argument names."""
    cases = Path(sys.argv[1])
    results = [run_apart(case) for case in json.loads(cases.read_text())]
    Path(f"{cases}.results").write_text(json.dumps({"version": tf.__version__, "refusals": results}))


if __name__ == "__main__":
    main()
