"""The app's process on a virtual device: passes a run to the real app in a JVM, and its answer back.

The zygote calls `run` in a process of its own. Faults of the app happen here: the
process dies by a signal, holds the JVM, or changes what the app says.
"""

import hashlib
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from device.rig import backends, properties
from device.rig.backends import Mode, mode_of
from device.rig.faults import Fault, FaultBox, end_by
from device.rig.fetch import CHECKOUT
from device.rig.guest_state import read_state
from device.rig.logs import log, now_s

#: Left by `am start` of the activity alone.
SHOWN: Final = Path("/dev/app/.shown")
#: What `_die` leaves for the tombstone.
CULPRIT: Final = Path("/dev/app/.culprit")
#: Where the runtimes of the rig listen.
RUNTIMES: Final = "/rig/runtimes/socket"
#: File of the device with the path of its folder on this machine.
HOME: Final = Path("/rig/home")
STORAGE: Final = "/storage/emulated/0"
GPU_LIBRARY: Final = "libtensorflowlite_gpu_jni.so"
_CANARY: Final = CHECKOUT / "workers/nnlite_benchmark/protocol/canary/canary.tflite"
#: Only some devices have these.
_CLOCKS: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_REPORT: Final = "INSTRUMENTATION_RESULT: report="
_STAGE: Final = re.compile(r"INSTRUMENTATION_STATUS: stage=(.*)")
_WINDOW_MISSING: Final = "INSTRUMENTATION_STATUS_CODE: 3"
#: As the runtime's log and the app's come: level, tag, text.
_LOG_LINE: Final = re.compile(r"([VDIWEF])/([^(:]*)(?:\([ \d]*\))?: (.*)")
#: Between two readings of the device's clock: the shortest, and what each byte of a model adds.
_STEP_NS, _STEP_NS_PER_BYTE = 1_000_000, 10


def run(request: Mapping[str, Any], caller: socket.socket, faults: FaultBox) -> None:
    """Do one run and answer the caller; the process ends afterwards."""
    _App(request, caller, faults).run()


class _App:
    def __init__(self, request: Mapping[str, Any], caller: socket.socket, faults: FaultBox) -> None:
        self._arguments: dict[str, str] = dict(request["arguments"])
        self._by_hand = request["by_hand"]
        self._package = request["package"]
        self._caller = caller
        self._faults = faults
        self._home = HOME.read_text()
        model = Path(self._arguments.get("model", ""))
        self._model = model.read_bytes() if model.is_file() else b""
        self._backend = self._arguments.get("backend", "")
        self._mode = mode_of(faults.folder, self._backend)
        self._stage = ""
        self._logged = "I", "nnlite"

    def run(self) -> None:
        SHOWN.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as self._runtime:
            self._runtime.connect(RUNTIMES)
            self._tell(json.dumps(self._request()))
            for line in self._answer():
                self._pass_on(line)
            self._crash_if_set("end")
        if self._by_hand:
            self._give_back_report()

    def _request(self) -> Mapping[str, Any]:
        """Return what the app is asked, in paths of this machine, and what the device is like."""
        state = read_state()
        if self._occurs(Fault.WRONG_OUTPUT) is not None:
            self._arguments["inputs"] = _zeros(self._arguments["inputs"])
        arguments = {name: self._outside(value) for name, value in self._arguments.items()}
        if self._mode is not Mode.OWN:
            arguments["backend"] = "cpu"
        focus = "gained"
        if self._occurs(Fault.NOT_IN_FRONT) is not None:
            focus = "lost"
        elif self._occurs(Fault.ACTIVITY_BLOCKED) is not None:
            focus = "blocked"
        request = {
            "level": int((properties.FOLDER / "ro.build.version.sdk").read_text()),
            "arguments": arguments,
            "pid": os.getpid(),
            "focus": focus,
            "storage": self._outside(STORAGE),
            "battery_percent": state.battery_percent,
            "battery_tenths_c": round(state.battery_c * 10),
            "charging": state.charging,
            "thermal_status": state.thermal_status,
            "step_ns": _STEP_NS + _STEP_NS_PER_BYTE * len(self._model),
            "offset_s": round(now_s(self._faults) - time.time()),
            "root": f"{self._home}/files",
        }
        if self._by_hand:
            return request | {"by_hand": True}
        return request if self._needs_jvm() else request | {"key": self._key(request)}

    def _needs_jvm(self) -> bool:
        """Whether a fault stops or ends the JVM of this run."""
        crash = self._faults.command(Fault.APP_CRASHES)
        return self._faults.on(Fault.APP_HANGS) or bool(crash and crash.parameters.get("runtime"))

    def _key(self, request: Mapping[str, Any]) -> str:
        """Return what equal runs have in common: files by their content, all but names and places."""
        files = [
            hashlib.sha256(Path(file).read_bytes()).hexdigest()
            for name in ("model", "inputs", "gate_model")
            for file in self._arguments.get(name, "").split(",")
            if Path(file).is_file()
        ]
        asked = {
            name: value for name, value in request["arguments"].items() if "/" not in value and name != "run"
        }
        own = {
            "arguments": asked,
            "files": files,
            "pid": 0,
            "offset_s": 0,
            "storage": "",
            "root": _CLOCKS.exists(),
        }
        return json.dumps({**request, **own}, sort_keys=True)

    def _answer(self) -> Iterator[str]:
        """Yield the lines that the app prints, and log what it logs; does not return if the JVM dies."""
        for line in self._runtime.makefile():
            message = json.loads(line)
            if "out" in message:
                yield self._inside(message["out"])
            for logged in message.get("log", "").splitlines():
                self._log(self._inside(logged))
            if "died" in message:
                log("crash", "E", "AndroidRuntime", message["died"] or "the JVM died", faults=self._faults)
                end_by(signal.SIGABRT)
            if "done" in message:
                return

    def _pass_on(self, line: str) -> None:
        if line.startswith(_REPORT):
            line = _REPORT + self._changed(line.removeprefix(_REPORT))
        self._send(line + "\n")
        if stage := _STAGE.fullmatch(line):
            self._stage = stage[1]
        elif line == _WINDOW_MISSING:
            self._await_shell()
        elif line.startswith("INSTRUMENTATION_STATUS_CODE: ") and self._stage:
            self._fail_if_set(self._stage)
            self._stage = ""

    def _changed(self, report: str) -> str:
        """Return the report as the device's faults and backends make it."""
        if self._mode is not Mode.OWN:
            report = json.dumps(backends.renamed_report(json.loads(report), self._backend, self._mode))
        if self._occurs(Fault.RESULT_TRUNCATED) is not None:
            report = report[: len(report) // 2]
        if self._occurs(Fault.RESULT_GARBAGE) is not None:
            report = '{"schema_version": 1, "runtime": 7, "\\u0000": [NaN, {}]}'
        return report

    def _fail_if_set(self, stage: str) -> None:
        if self._occurs_at(Fault.APP_HANGS, stage) is not None:
            self._tell("hold")
            signal.pause()
        if self._occurs_at(Fault.DIES_MID_RUN, stage) is not None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as init:
                init.sendto(b"kill_adbd", "/dev/socket/init")
        self._crash_if_set(stage)

    def _crash_if_set(self, stage: str) -> None:
        """Die as a fault says: at a stage, or at `end`, when the report is sent."""
        crash = self._occurs_at(Fault.APP_CRASHES, stage)
        if crash is not None:
            if crash.get("runtime"):
                self._tell("kill")
            CULPRIT.write_text(crash.get("library", "libnnlite.so"))
            end_by(signal.Signals[crash.get("signal", "SIGSEGV")])
        if self._occurs_at(Fault.DELEGATE_CRASHES, stage) is not None:
            CULPRIT.write_text(GPU_LIBRARY)
            end_by(signal.SIGSEGV)

    def _occurs_at(self, fault: Fault, stage: str) -> Mapping[str, Any] | None:
        """Count an occasion of a fault at its stage, by default the timed runs; return its parameters."""
        command = self._faults.command(fault)
        at_its_stage = command is not None and command.parameters.get("stage", "run") == stage
        return self._occurs(fault) if at_its_stage else None

    def _occurs(self, fault: Fault) -> Mapping[str, Any] | None:
        kind = "canary" if self._model == _CANARY.read_bytes() else "benchmark"
        return self._faults.occurs(fault, runs=kind, backend=self._backend)

    def _await_shell(self) -> None:
        """Wait for the host to start the activity, if this phone lets no instrumentation do it."""
        while not SHOWN.exists():
            time.sleep(0.01)
        self._tell("show")

    def _log(self, line: str) -> None:
        match = _LOG_LINE.fullmatch(line)
        # A line of a stack trace has the level and tag of what threw.
        level, tag, text = match.groups() if match else (*self._logged, line)
        self._logged = level, tag
        if self._mode is not Mode.OWN:
            text = backends.renamed_log(text, self._backend, self._mode)
        log("main", level, tag.strip(), text, faults=self._faults)

    def _give_back_report(self) -> None:
        """Name the paths of the device in a report that the app wrote by itself."""
        report = Path(STORAGE, "Android/media", self._package, self._arguments["run"], "report.json")
        if report.exists():
            report.write_text(self._inside(report.read_text()))

    def _tell(self, line: str) -> None:
        self._runtime.sendall(line.encode() + b"\n")

    def _send(self, text: str) -> None:
        with suppress(OSError):  # the caller has ended; the run continues, as on Android
            self._caller.sendall(text.encode())

    def _outside(self, value: str) -> str:
        """Return a value with its paths as this machine has them."""
        for inside, outside in ((STORAGE, "/data/media/0"), ("/data/", "/data/")):
            value = re.sub(rf"(^|,){inside}", rf"\g<1>{self._home}{outside}", value)
        return value

    def _inside(self, text: str) -> str:
        """Return a text with its paths as the device has them."""
        return text.replace(f"{self._home}/data/media/0", STORAGE).replace(f"{self._home}/data", "/data")


def _zeros(inputs: str) -> str:
    """Write as many zeros as each input has bytes; return the files."""
    files = []
    for number, file in enumerate(map(Path, inputs.split(","))):
        files.append(f"/data/data/zeros_{number}.raw")
        Path(files[-1]).write_bytes(bytes(file.stat().st_size))
    return ",".join(files)
