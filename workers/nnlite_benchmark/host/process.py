"""Runs and supervises the measuring process: deadline per stage, exit status, validated report.

The process has its own process group, dies with its parent, and is killed in a
`finally`; `launching` starts it. Each stage has a deadline, because nothing else ends an inference that
hangs.
"""

import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from pydantic import ValidationError

from nnlite.errors import Stopped
from nnlite.host.child_process import how_it_ended, signal_name, tail
from nnlite.reports.schema import Profile, RunReport
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Fault, Stage
from nnlite_benchmark.device import DeviceFailure
from nnlite_benchmark.host.launching import (
    LOOK_S,
    ForkServer,
    LaunchError,
    MeasuringProcess,
    SpawnedProcess,
)
from nnlite_benchmark.host.runner import REPORT_FILE, RunRequest
from nnlite_benchmark.protocol.deadlines import stage_limit_s

MAX_REPORT_BYTES: Final = 100 * 1024 * 1024
STDERR_TAIL_BYTES: Final = 8192

Report = TypeVar("Report", RunReport, Profile)

#: Called at each stage with the PID of the measuring process.
OnStage = Callable[[Stage, int], None]
#: Called with the stage several times a second.
OnPoll = Callable[[Stage], None]


def run_process(
    request: RunRequest,
    limits: MeasurementSettings,
    *,
    stop: threading.Event,
    server: ForkServer | None = None,
    on_stage: OnStage = lambda stage, pid: None,
    on_poll: OnPoll = lambda stage: None,
) -> RunReport:
    """Run one request in a new process and return its validated report.

    A refusal by the runtime is no exception: it is part of the report.

    Args:
        request: what to run.
        limits: of each stage.
        stop: set when the worker is asked to stop.
        server: forks the process; None: it is a new Python.
        on_stage: called at each stage.
        on_poll: called several times a second.

    Raises:
        DeviceFailure: `process_died`: it died, outlasted a stage or wrote no usable report; the details have
            exit status or signal, and the end of its stderr.
        Stopped: `stop` was set.
    """

    def launch(request_file: Path, stderr: IO[bytes]) -> MeasuringProcess:
        return _launched(request_file, stderr, limits, server, stop)

    watch = _watched(request, limits, launch, stop=stop, on_stage=on_stage, on_poll=on_poll)
    return _read(RunReport, request, watch)


def profile_process(
    request: RunRequest,
    limits: MeasurementSettings,
    *,
    stop: threading.Event,
    on_stage: OnStage = lambda stage, pid: None,
) -> Profile:
    """Profile one request in a new process and return its validated profile; raises as `run_process`."""

    def launch(request_file: Path, stderr: IO[bytes]) -> MeasuringProcess:
        # A new Python: the fork server has imported another library of LiteRT.
        return SpawnedProcess(request_file, stderr, "profiler", huge_pages=limits.huge_pages)

    watch = _watched(request, limits, launch, stop=stop, on_stage=on_stage)
    return _read(Profile, request, watch)


def _watched(
    request: RunRequest,
    limits: MeasurementSettings,
    launch: Callable[[Path, IO[bytes]], MeasuringProcess],
    *,
    stop: threading.Event,
    on_stage: OnStage,
    on_poll: OnPoll = lambda stage: None,
) -> "_Watch":
    """Launch the process of a request and follow it until it has ended."""
    folder = Path(request.folder)
    request_file = folder / "request.json"
    request_file.write_text(request.to_json(), encoding="utf-8")
    with (folder / "stderr").open("wb") as stderr:
        process = launch(request_file, stderr)
    watch = _Watch(process, limits, folder, on_stage)
    try:
        watch.until_end(stop, on_poll)
    finally:
        process.end()
    return watch


def _launched(
    request_file: Path,
    stderr: IO[bytes],
    limits: MeasurementSettings,
    server: ForkServer | None,
    stop: threading.Event,
) -> MeasuringProcess:
    if server is None:
        return SpawnedProcess(request_file, stderr, huge_pages=limits.huge_pages)
    try:
        return server.launch(request_file, stderr, limits.initialize_timeout_s, lambda: _check(stop))
    except LaunchError as error:
        reason = f"no measuring process could be started: {error}"
        raise DeviceFailure(Fault.PROCESS_DIED, Stage.INITIALIZE, reason) from error


def _check(stop: threading.Event) -> None:
    if stop.is_set():
        raise Stopped("stopped while measuring on the host")


class _Watch:
    """Supervises the measuring process: its current stage, that stage's deadline, and its end."""

    def __init__(
        self, process: MeasuringProcess, limits: MeasurementSettings, folder: Path, on_stage: OnStage
    ) -> None:
        self._process = process
        self._limits = limits
        self._folder = folder
        self._on_stage = on_stage
        self._unread = b""
        self._enter(Stage.INITIALIZE, 0.0)

    def until_end(self, stop: threading.Event, on_poll: OnPoll) -> None:
        """Follow the process until it has closed its pipe and exited with status 0, else raise."""
        pipe = self._process.stages
        while True:
            _check(stop)
            on_poll(self.stage)
            left_s = self._since_s + self._limit_s - time.monotonic()
            if left_s <= 0:
                raise self.failure(f"did not finish {self.stage} within {self._limit_s:.0f} s and was killed")
            readable, _, _ = select.select([pipe], [], [], min(LOOK_S, left_s))
            if readable and not self._read(os.read(pipe, 65536)):
                break
        try:
            status = self._process.wait(self._limits.grace_s)
        except TimeoutError:
            raise self.failure(f"closed its pipe at {self.stage} but did not end; it was killed") from None
        if status:
            details = {"signal": signal_name(-status)} if status < 0 else {"exit_status": status}
            raise self.failure(f"{how_it_ended(status)} at {self.stage}", details)

    def _read(self, chunk: bytes) -> bool:
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        for line in lines:
            name, _, first_ns = line.decode("ascii", "replace").partition(" ")
            with suppress(ValueError):
                self._enter(Stage(name), int(first_ns) / 1e9)
                self._on_stage(self.stage, self._process.pid)
        return bool(chunk)

    def _enter(self, stage: Stage, first_inference_s: float) -> None:
        self.stage = stage
        self._since_s = time.monotonic()
        self._limit_s = stage_limit_s(self._limits, stage, first_inference_s)

    def failure(self, reason: str, details: Mapping[str, Any] | None = None) -> DeviceFailure:
        """Return a DeviceFailure with the process's PID and the end of its stderr."""
        evidence = {
            "pid": self._process.pid,
            **(details or {}),
            "stderr_tail": tail(self._folder / "stderr", STDERR_TAIL_BYTES),
        }
        return DeviceFailure(Fault.PROCESS_DIED, self.stage, f"the measuring process {reason}", evidence)


def _read(kind: type[Report], request: RunRequest, watch: _Watch) -> Report:
    path = Path(request.folder, REPORT_FILE)
    try:
        size = path.stat().st_size
        if size > MAX_REPORT_BYTES:
            raise watch.failure(f"wrote a report of {size} bytes; at most {MAX_REPORT_BYTES} are read")
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise watch.failure(f"ended without a report: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise watch.failure(f"wrote a report that does not fit: {field}: {first['msg']}") from error
