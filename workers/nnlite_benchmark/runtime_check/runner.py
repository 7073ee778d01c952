"""Runs artifacts with the phones' TensorFlow Lite: the app's own library, or that of TensorFlow.

`runner.py PARENT [FOLDER]`: with a folder, the app's library in it, and a program of nnlite's own Python
(for another processor by an emulator).
Without one, a program for the Python of a separate environment, with the standard library, numpy and
TensorFlow. It reads requests, one JSON object a line, and answers each with a line; its first line says its
version. Each artifact runs in a fork of its own within limits, so that a runtime that aborts takes one. The
fork ends with this process, and this process with its parent. It trusts its parent; its parent does not trust
it.
"""

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
#: No file that a fork writes may be larger: flatbuffers end at 2 GiB, and outputs are smaller.
_MAX_FILE_BYTES = 2 << 30

#: What runs the artifact of a request and returns its answer.
Run = Callable[[dict[str, Any]], dict[str, Any]]
#: An output: type, shape, little-endian data.
Tensor = tuple[str, tuple[int, ...], bytes]


def main() -> None:
    """Answer requests until stdin is closed."""
    die_with_parent(int(sys.argv[1]))
    # TensorFlow may print: what it prints goes to the log.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    version, run = of_apk(Path(sys.argv[2])) if sys.argv[2:] else tensorflow()
    answer: dict[str, Any] = {"version": version}
    while True:
        answers.write(f"{json.dumps(answer)}\n")
        answers.flush()
        if not (line := sys.stdin.readline()):
            return
        answer = run_apart(run, json.loads(line))


def run_apart(run: Run, request: dict[str, Any]) -> dict[str, Any]:
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
        except BaseException:  # noqa: BLE001  (the fork ends here: nobody else would print it)
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(answer) if code == 0 else {"died": code}


def of_apk(folder: Path) -> tuple[str, Run]:
    """Load the app's library; return its version and what runs an artifact with it."""
    from nnlite.host.tflite_arm64 import RUN_ARTIFACT, run_emulated
    from nnlite.host.tflite_library import RefusedError, TfliteInterpreter, TfliteLibrary
    from nnlite.host.tflite_weights import weights_inside

    is_emulated = (folder / RUN_ARTIFACT).exists()
    library = None if is_emulated else TfliteLibrary(folder)

    def outputs(request: dict[str, Any]) -> list[Tensor]:
        place = Path(request["folder"])
        artifact = weights_inside(Path(request["artifact"]), place / "weights_inside.tflite")
        if library is None:
            return run_emulated(folder, str(artifact), request["inputs"], place)
        interpreter = TfliteInterpreter(library, artifact)
        interpreter.allocate()
        interpreter.fill([Path(file).read_bytes() for file in request["inputs"]])
        interpreter.invoke()
        return [(tensor.dtype, tensor.shape, tensor.data) for tensor in interpreter.outputs()]

    def run(request: dict[str, Any]) -> dict[str, Any]:
        try:
            return written(request, outputs(request))
        except RefusedError as error:
            return refusal(error, request["artifact"], "ai_edge_litert.schema_py_generated")

    return "" if library is None else library.version, run


def tensorflow() -> tuple[str, Run]:
    """Import TensorFlow; return its version and what runs an artifact with it."""
    os.environ |= {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    import numpy as np
    import tensorflow

    def run(request: dict[str, Any]) -> dict[str, Any]:
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
            return refusal(error, request["artifact"], "tensorflow.lite.python.schema_py_generated")
        little = [tensor.astype(tensor.dtype.newbyteorder("<"), copy=False) for tensor in tensors]
        return written(request, [(one.dtype.name, one.shape, one.tobytes()) for one in little])

    return tensorflow.__version__, run


def written(request: dict[str, Any], tensors: list[Tensor]) -> dict[str, Any]:
    """Write outputs into the request's folder and return the answer."""
    outputs = []
    for number, (dtype, shape, data) in enumerate(tensors):
        name = f"output_{number}.raw"
        (Path(request["folder"]) / name).write_bytes(data)
        outputs.append({"file": name, "dtype": dtype, "shape": list(shape)})
    return {"outputs": outputs}


def refusal(error: Exception, artifact: str, schema: str) -> dict[str, Any]:
    """Return the answer for a refused artifact; `schema` is the module that reads its operators."""
    reason = str(error)[:10_000] or type(error).__name__
    try:
        return {"refusal": reason, "operators": operators(artifact, schema)}
    except Exception:  # noqa: BLE001  (an invalid file has no operators, and not everyone has the module)
        return {"refusal": reason}


def operators(artifact: str, module: str) -> dict[str, int]:
    """Return the operators of a file, each with its highest version; few refusals name a version."""
    schema = importlib.import_module(module)
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
