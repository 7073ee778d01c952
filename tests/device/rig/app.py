"""The benchmark app of a virtual device: the real app's arguments, stages and report, on LiteRT.

Its times are those of a simulated clock.
Imported by the zygote, so that NumPy and LiteRT are loaded once; `run` is
called in a process of its own, which is the app process.
"""

import base64
import hashlib
import json
import os
import signal
import socket
import time
import zlib
from array import array
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from device.rig.arguments import Unusable, read_arguments
from device.rig.backends import Mode, delegation_of, modes
from device.rig.clock import SimulatedClock
from device.rig.faults import Fault, FaultBox, end_by
from device.rig.figures import device_state, pss_kb, status_kb
from device.rig.logs import log
from device.rig.zygote import CULPRIT
from nnlite_benchmark.protocol.canary import MODEL_FILE
from nnlite_benchmark.protocol.runs import timed_runs, warm_up
from nnlite_benchmark.protocol.statistics import summarize

#: Left by `am start` of the activity alone.
SHOWN = Path("/dev/app/.shown")
MEDIA = Path("/storage/emulated/0/Android/media")
#: Compressed samples up to this size are in the report itself, bytes.
INLINE_BYTES = 32 * 1024
THINNED_BYTES = 1024 * 1024
PIECE_BYTES = 48 * 1024
CANARY_SHA256 = hashlib.sha256(MODEL_FILE.read_bytes()).hexdigest()
RUNTIME_VERSION = version("ai-edge-litert")
GPU_LIBRARY = "libtensorflowlite_gpu_jni.so"


class Refused(Exception):
    """The runtime or a delegate refused; the second argument is the refusal."""


def run(request: Mapping[str, Any], caller: socket.socket, faults: FaultBox) -> None:
    """Do one run and answer the caller; the process ends afterwards."""
    _App(request, caller, faults).run()


class _App:
    def __init__(self, request: Mapping[str, Any], caller: socket.socket, faults: FaultBox) -> None:
        self._extras: Mapping[str, str] = request["arguments"]
        self._by_hand = request["by_hand"]
        self._package = request["package"]
        self._caller = caller
        self._faults = faults
        self._files: dict[str, bytes] = {}
        self._report: dict[str, Any] = {"schema_version": 1, "runtime": "rig LiteRT"}

    def run(self) -> None:
        SHOWN.unlink(missing_ok=True)
        try:
            self._arguments = read_arguments(self._extras)
            model = self._arguments.model.read_bytes()
            self._kind = "canary" if hashlib.sha256(model).hexdigest() == CANARY_SHA256 else "benchmark"
            self._clock = SimulatedClock(len(model))
            self._await_window()
            self._measure()
            self._finish()
        except Unusable as error:
            self._send(f"INSTRUMENTATION_RESULT: error={error}\nINSTRUMENTATION_CODE: 0\n")

    def _measure(self) -> None:
        report = self._report
        report |= {
            "runtime_version": RUNTIME_VERSION,
            "threads": self._arguments.threads,
            "cores": sorted(os.sched_getaffinity(0)),
            "before": device_state(self._faults),
        }
        try:
            interpreter = self._initialize()
            self._enter("warm-up")
            # The first inference gave the outputs; further ones would only take time, which is simulated.
            invoke = self._clock.inferred_again
            runs, elapsed_ns = warm_up(invoke, self._clock, self._arguments.bounds)
            report |= {"warmup_runs": runs, "warmup_ns": elapsed_ns, "peak_rss_kb": status_kb("VmHWM")}
            self._enter("run")
            samples, run_ns = timed_runs(invoke, self._clock, self._arguments.bounds)
            self._keep_samples(samples)
            report |= {
                "run_ns": run_ns,
                "pss_after_kb": pss_kb(),
                "outputs": list(self._outputs(interpreter)),
                "in_front": self._occurs(Fault.NOT_IN_FRONT) is None,
            }
        except Refused as refusal:
            report |= {"error": str(refusal.args[0]), "refusal": refusal.args[1]}
        report["after"] = device_state(self._faults)

    def _await_window(self) -> None:
        """Wait for the host to start the activity, if this phone lets no instrumentation do it."""
        if self._occurs(Fault.ACTIVITY_BLOCKED) is None:
            return
        self._send("INSTRUMENTATION_STATUS_CODE: 3\n")
        while not SHOWN.exists():
            time.sleep(0.01)

    def _initialize(self) -> Any:
        report = self._report
        if self._arguments.backend == "gpu":
            report["precision_loss"] = self._arguments.precision_loss
        report |= {"baseline_rss_kb": status_kb("VmRSS"), "pss_before_kb": pss_kb()}
        Path("/proc/self/clear_refs").write_text("5")
        self._enter("initialize")
        mode = modes(self._faults.folder)[self._arguments.backend]
        if mode is Mode.REFUSES:
            raise Refused(
                f"rig: {self._arguments.backend} delegate: cannot be created on this device", "runtime"
            )
        begin_ns = self._clock()
        resolver = (
            OpResolverType.AUTO
            if self._arguments.backend == "cpu"
            else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
        try:
            interpreter = Interpreter(
                model_path=str(self._arguments.model),
                num_threads=self._arguments.threads,
                experimental_op_resolver_type=resolver,
            )
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise Refused(str(error)[:10_000], "runtime") from error
        self._clock.initialized()
        report["init_ns"] = self._clock() - begin_ns
        self._count(interpreter, mode)
        self._fill(interpreter)
        first_ns = self._clock()
        try:
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise Refused(str(error)[:10_000], "runtime") from error
        self._clock.inferred_first()
        report["first_inference_ns"] = self._clock() - first_ns
        return interpreter

    def _count(self, interpreter: Any, mode: Mode) -> None:
        if self._arguments.backend == "cpu-plain":
            return
        if self._arguments.backend == "npu":
            self._report["nnapi_errno"] = 0
        delegation = delegation_of(interpreter, self._arguments.backend, mode)
        self._report["delegation"] = delegation
        if delegation["delegated_nodes"] == 0:
            raise Refused(f"{delegation['delegate']} took no node", "not_delegated")
        log(
            "main",
            "I",
            "tflite",
            f"Replacing {delegation['delegated_nodes']} out of {delegation['total_nodes']} node(s) "
            f"with delegate ({delegation['delegate']}) node, yielding {delegation['partitions']} partitions "
            "for the whole graph.",
            faults=self._faults,
        )

    def _fill(self, interpreter: Any) -> None:
        details = interpreter.get_input_details()
        if len(details) != len(self._arguments.inputs):
            raise Unusable(
                f"the model has {len(details)} inputs, {len(self._arguments.inputs)} files were given"
            )
        for detail, file in zip(details, self._arguments.inputs, strict=True):
            raw = file.read_bytes()
            dtype = np.dtype(detail["dtype"])
            expected = int(np.prod(detail["shape"])) * dtype.itemsize
            if len(raw) != expected:
                raise Unusable(f"{file} has {len(raw)} bytes; {detail['name']} takes {expected}")
            interpreter.set_tensor(detail["index"], np.frombuffer(raw, dtype).reshape(detail["shape"]))

    def _enter(self, stage: str) -> None:
        """Report the stage, and show the faults that are set for it."""
        self._report["stage"] = stage
        status = {"pid": os.getpid(), "stage": stage}
        if first_ns := self._report.get("first_inference_ns"):
            status["first_inference_ns"] = first_ns
        self._status(status, 1)
        hang = self._faults.command(Fault.APP_HANGS)
        hangs_here = hang is not None and hang.parameters.get("stage", "run") == stage
        if hangs_here and self._occurs(Fault.APP_HANGS) is not None:
            signal.pause()
        if stage == "run":
            self._crash_if_set()

    def _crash_if_set(self) -> None:
        if self._occurs(Fault.DIES_MID_RUN) is not None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as init:
                init.sendto(b"kill_adbd", "/dev/socket/init")
        crash = self._occurs(Fault.APP_CRASHES)
        if crash is not None:
            CULPRIT.write_text(crash.get("library", "libnnlite.so"))
            end_by(signal.Signals[crash.get("signal", "SIGSEGV")])
        if self._occurs(Fault.DELEGATE_CRASHES) is not None:
            CULPRIT.write_text(GPU_LIBRARY)
            end_by(signal.SIGSEGV)

    def _occurs(self, fault: Fault) -> Mapping[str, Any] | None:
        return self._faults.occurs(fault, runs=self._kind, backend=self._arguments.backend)

    def _keep_samples(self, samples: "array[int]") -> None:
        values = np.array(samples, dtype="<i8")
        self._report |= {"runs": len(samples), "latency": summarize(values).model_dump()}
        packed, step = zlib.compress(values.tobytes()), 1
        while len(packed) > THINNED_BYTES:
            step *= 2
            packed = zlib.compress(values[::step].tobytes())
        self._report["samples_complete"] = step == 1
        if len(packed) <= INLINE_BYTES:
            self._report["samples"] = base64.b64encode(packed).decode()
        else:
            self._report["samples_file"] = self._file("samples.z", packed)

    def _outputs(self, interpreter: Any) -> Any:
        wrong = self._occurs(Fault.WRONG_OUTPUT) is not None
        for number, detail in enumerate(interpreter.get_output_details()):
            tensor = interpreter.get_tensor(detail["index"])
            if wrong:
                tensor = tensor + tensor.dtype.type(1)
            scale, zero_point = detail["quantization"]
            yield {
                "name": detail["name"],
                "dtype": tensor.dtype.name,
                "shape": list(tensor.shape),
                "scale": float(scale) if scale else None,
                "zero_point": int(zero_point) if scale else None,
                **self._file(f"output_{number}.raw", tensor.tobytes()),
            }

    def _file(self, name: str, data: bytes) -> dict[str, Any]:
        self._files[name] = data
        return {"file": name, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def _finish(self) -> None:
        folder = MEDIA / self._package / self._arguments.run
        by_status = self._arguments.by_status
        if by_status:
            self._send_pieces()
        else:
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in self._files.items():
                (folder / f"{name}.tmp").write_bytes(data)
                (folder / f"{name}.tmp").rename(folder / name)
        self._report["folder"] = None if by_status else str(folder)
        line = json.dumps(self._report)
        if self._by_hand:
            file = folder / "report.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(line)
            log("main", "I", "nnlite", f"report {file}", faults=self._faults)
            return
        if self._occurs(Fault.RESULT_TRUNCATED) is not None:
            line = line[: len(line) // 2]
        if self._occurs(Fault.RESULT_GARBAGE) is not None:
            line = '{"schema_version": 1, "runtime": 7, "\\u0000": [NaN, {}]}'
        self._send(f"INSTRUMENTATION_RESULT: report={line}\nINSTRUMENTATION_CODE: -1\n")

    def _send_pieces(self) -> None:
        for name, data in self._files.items():
            pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)] or [b""]
            for number, piece in enumerate(pieces):
                self._status(
                    {
                        "data": base64.b64encode(piece).decode(),
                        "file": name,
                        "piece": number,
                        "pieces": len(pieces),
                    },
                    2,
                )

    def _status(self, values: Mapping[str, object], code: int) -> None:
        lines = "".join(f"INSTRUMENTATION_STATUS: {name}={values[name]}\n" for name in sorted(values))
        self._send(f"{lines}INSTRUMENTATION_STATUS_CODE: {code}\n")

    def _send(self, text: str) -> None:
        if self._by_hand:
            return
        try:
            self._caller.sendall(text.encode())
        except OSError:
            return  # the caller has ended; the run continues, as on Android
