"""Runs artifacts with TensorFlow Lite, in a separate environment with the phones' version of it.

A program for that environment's Python, with the standard library, numpy and TensorFlow: it reads requests,
one JSON object a line, and answers each with a line; its first line says its version. Each artifact runs in
a fork of its own within limits, so that a runtime that aborts takes one. The fork ends with this process, and
this process with its parent. It trusts its parent; its parent does not trust it.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
#: No file that a fork writes may be larger: flatbuffers end at 2 GiB, and outputs are smaller.
_MAX_FILE_BYTES = 2 << 30


def main() -> None:
    """Answer requests until stdin is closed."""
    die_with_parent(int(sys.argv[1]))
    # TensorFlow may print: what it prints goes to the log.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.environ |= {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    import tensorflow

    answer: dict[str, Any] = {"version": tensorflow.__version__}
    while True:
        answers.write(f"{json.dumps(answer)}\n")
        answers.flush()
        if not (line := sys.stdin.readline()):
            return
        answer = run_apart(json.loads(line))


def run_apart(request: dict[str, Any]) -> dict[str, Any]:
    """Run one artifact in a fork; return its answer, or its exit code if it died."""
    here = os.getpid()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            die_with_parent(here)
            limit(request["memory_limit_mb"])
            os.write(writing, json.dumps(run(request)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(answer) if code == 0 else {"died": code}


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run one artifact; return its outputs, or the runtime's error message."""
    import numpy as np
    import tensorflow

    try:
        interpreter = tensorflow.lite.Interpreter(model_path=request["artifact"], num_threads=1)
        interpreter.allocate_tensors()
        for detail, file in zip(interpreter.get_input_details(), request["inputs"], strict=True):
            dtype = np.dtype(detail["dtype"])
            values = np.frombuffer(Path(file).read_bytes(), dtype.newbyteorder("<"))
            interpreter.set_tensor(detail["index"], values.astype(dtype).reshape(detail["shape"]))
        interpreter.invoke()
        tensors = [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
    except (ValueError, RuntimeError) as error:
        reason = str(error)[:10_000] or type(error).__name__
        try:
            return {"refusal": reason, "operators": operators(request["artifact"])}
        except Exception:  # noqa: BLE001  (an invalid file has no operators)
            return {"refusal": reason}
    outputs = []
    for number, tensor in enumerate(tensors):
        name = f"output_{number}.raw"
        raw = tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes()
        (Path(request["folder"]) / name).write_bytes(raw)
        outputs.append({"file": name, "dtype": tensor.dtype.name, "shape": list(tensor.shape)})
    return {"outputs": outputs}


def operators(artifact: str) -> dict[str, int]:
    """Return the operators of a file, each with its highest version; few refusals name a version."""
    from tensorflow.lite.python import schema_py_generated as schema

    names = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    found: dict[str, int] = {}
    model = schema.Model.GetRootAs(Path(artifact).read_bytes(), 0)
    for index in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(index)
        # The first field cannot hold numbers above 127; the second one holds those.
        name = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
        if name is not None:
            found[name] = max(found.get(name, 0), code.Version())
    return found


def limit(memory_mb: int) -> None:
    """Limit this process's memory to `memory_mb` more than now, its files, and forbid core dumps."""
    status = Path("/proc/self/status").read_text()
    data_kb = int(status.partition("VmData:")[2].split()[0])
    data = (data_kb << 10) + (memory_mb << 20)
    resource.setrlimit(resource.RLIMIT_DATA, (data, data))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE_BYTES, _MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends; end now if it has already (prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main()
