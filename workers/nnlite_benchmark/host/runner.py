"""The measuring process: runs one artifact once, writes a report and exits.

It is a fork of the fork server, or `python -m nnlite_benchmark.host.runner REQUEST.json`.
It writes the report and the outputs into the request's folder and prints a line at
each stage. It imports only NumPy and the runtime besides the standard library, so that
it starts quickly and its memory is mostly the artifact's. It trusts its parent;
its parent does not trust it.
"""

import gc
import hashlib
import json
import os
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Never, Self, TextIO

from nnlite.artifacts import executorch
from nnlite.backends import HOST_RUNTIMES
from nnlite.host.fork import die_with_parent
from nnlite.vocabulary import Backend, Stage
from nnlite_benchmark.host.initializer import initialize
from nnlite_benchmark.host.memory import MemoryUse, huge_pages_kb
from nnlite_benchmark.host.sessions import (
    OutputTensor,
    Refused,
    Session,
    SessionRequest,
    accepted,
    open_session,
)
from nnlite_benchmark.protocol.analysis.disturbance import between, snapshot
from nnlite_benchmark.protocol.canary import GATE_FILE
from nnlite_benchmark.protocol.continuous import continuous_runs
from nnlite_benchmark.protocol.gating import Gate, gated_runs
from nnlite_benchmark.protocol.runs import Bounds, canary_runs, encode_samples, timed_runs, warm_up

REPORT_FILE: Final = "report.json"


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The request of the parent process; passed as JSON."""

    artifact: str
    #: What executes it; the gate's canary is executed by LiteRT with XNNPACK.
    backend: Backend = Backend.CPU
    #: Folder of the app's library, for the backend that it executes; None: it is not set up.
    library: str | None = None
    #: One raw little-endian file for each input, in the artifact's order.
    inputs: tuple[str, ...]
    #: How many samples each has, one behind the other: all are run, untimed, and their first outputs are one
    #: output. 0: the input of timed runs.
    samples: int = 0
    #: Where the report and the outputs go.
    folder: str
    threads: int
    #: CPU affinity; empty: any core.
    cores: tuple[int, ...]
    bounds: Bounds
    #: None: every timed run counts.
    gate: Gate | None = None
    #: Seconds of runs without pauses, which are reported in bins; 0: timed runs.
    continuous_s: float = 0.0
    #: As `RunPlan.canary_before_ns`.
    canary_before_ns: int | None = None
    #: File of XNNPACK's weight cache: the artifact is only initialized, with that. None: it is measured.
    weight_cache: str | None = None
    parent_pid: int

    def to_json(self) -> str:
        """Serialize the request."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse a request that `to_json` wrote."""
        fields = json.loads(text)
        gate = fields["gate"] and Gate(**fields["gate"])
        bounds, backend = Bounds(**fields["bounds"]), Backend(fields["backend"])
        return cls(**{**fields, "bounds": bounds, "backend": backend, "gate": gate})


class Runner:
    """Runs the stages and collects the report."""

    def __init__(self, request: RunRequest, channel: TextIO) -> None:
        self._request = request
        self._channel = channel
        self.report: dict[str, Any] = {
            "runtime": HOST_RUNTIMES[request.backend].name,
            "runtime_version": runtime_version(request.backend),
            "threads": request.threads,
            "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        }

    def run(self) -> None:
        """Run every stage; a refusal ends the run and is part of the report."""
        try:
            self._enter(Stage.INITIALIZE)
            session = self._initialized()
            bounds = self._request.bounds
            self._enter(Stage.WARM_UP)
            invoke = session.invoke
            runs, elapsed_ns = accepted(lambda: warm_up(invoke, time.perf_counter_ns, bounds))
            self.report |= {"warmup_runs": runs, "warmup_ns": elapsed_ns}
            # Read now: timed runs only repeat this work, and their samples would be counted too.
            steady = self.report["memory"]["steady"] = self._memory.now()
            self.report["peak_rss_kb"] = steady["process_kb"]
            self.report["huge_pages_kb"] = huge_pages_kb()
            self._enter(Stage.RUN)
            gc.collect()
            gc.disable()
            cores = self.report["cores"]
            before = snapshot(cores)
            self._time_runs(invoke)
            self.report["disturbance"] = between(before, snapshot(cores), len(cores))
            self.report["outputs"] = list(self._outputs(session))
        except Refused as refusal:
            self.report["error"] = _in_words(str(refusal), self._request.backend)[:10_000]

    def _time_runs(self, invoke: Callable[[], object]) -> None:
        bounds, gate, seconds = self._request.bounds, self._request.gate, self._request.continuous_s
        if seconds:
            bins = accepted(lambda: continuous_runs(invoke, time.perf_counter_ns, seconds))
            self.report |= {"bins": asdict(bins), "run_ns": bins.end_ns[-1]}
            return
        if gate is None:
            samples, run_ns = accepted(lambda: self._timed(invoke))
            self.report |= {"samples": encode_samples(samples), "run_ns": run_ns}
            return
        canary = _gate_canary(self._request.threads)
        typical_ns = self.report["warmup_ns"] // self.report["warmup_runs"]
        runs = accepted(
            lambda: gated_runs(invoke, canary, time.perf_counter_ns, bounds, gate, typical_ns=typical_ns)
        )
        self.report |= {
            "samples": encode_samples(runs.samples_ns),
            "run_ns": runs.run_ns,
            "slices": {
                "canaries_ns": runs.canaries_ns,
                "slice_runs": runs.slice_runs,
                "slice_first_ns": runs.slice_first_ns,
                "learning_ns": runs.learning_ns,
            },
        }

    def _timed(self, invoke: Callable[[], object]) -> tuple["array[int]", int]:
        bounds, before_ns = self._request.bounds, self._request.canary_before_ns
        if before_ns is None:
            return timed_runs(invoke, time.perf_counter_ns, bounds)
        return canary_runs(invoke, time.perf_counter_ns, bounds, before_ns)

    def _enter(self, stage: Stage) -> None:
        self.report["stage"] = stage.value
        self._channel.write(f"{stage.value} {self.report.get('first_inference_ns', 0)}\n")
        self._channel.flush()

    def _initialized(self) -> Session:
        asked = self._request
        session = open_session(SessionRequest(asked.backend, asked.artifact, asked.threads, asked.library))
        self.report["runtime_version"] = session.version or self.report["runtime_version"]
        self._memory = memory = MemoryUse(self._request.artifact)
        self.report["baseline_rss_kb"] = memory.baseline_rss_kb
        begin_ns = time.perf_counter_ns()
        session.load()
        loaded_ns = time.perf_counter_ns()
        session.prepare()
        ready_ns = time.perf_counter_ns()
        load = memory.now()
        session.fill(self._request.inputs, 0, max(asked.samples, 1))
        invoke = session.invoke
        first_ns = time.perf_counter_ns()
        accepted(invoke)
        self.report |= {
            "first_inference_ns": time.perf_counter_ns() - first_ns,
            "memory": {"load": load, "first_run": memory.now()},
            "load_ns": loaded_ns - begin_ns,
            "prepare_ns": ready_ns - loaded_ns,
            "init_ns": ready_ns - begin_ns,
            "delegation": session.delegation(),
            "delegate_refusals": session.refusals(),
        }
        return session

    def _outputs(self, session: Session) -> Iterator[dict[str, Any]]:
        outputs = [self._first_outputs(session)] if self._request.samples else session.outputs()
        for number, output in enumerate(outputs):
            tensor = output.value
            raw = tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes()
            name = f"output_{number}.raw"
            (Path(self._request.folder) / name).write_bytes(raw)
            yield {
                "name": output.name,
                "dtype": tensor.dtype.name,
                "shape": list(tensor.shape),
                "scale": output.scale,
                "zero_point": output.zero_point,
                "file": name,
                "sha256": hashlib.sha256(raw).hexdigest(),
            }

    def _first_outputs(self, session: Session) -> OutputTensor:
        """Run every sample; return their first outputs as one, with the samples as its first dimension."""
        import numpy as np

        inputs, samples = self._request.inputs, self._request.samples
        outputs = []
        for sample in range(samples):
            session.fill(inputs, sample, samples)
            accepted(session.invoke)
            outputs.append(next(iter(session.outputs())))
        return outputs[0]._replace(value=np.stack([output.value for output in outputs]))


def _in_words(refusal: str, backend: Backend) -> str:
    return executorch.in_words(refusal) if backend is Backend.EXECUTORCH else refusal


def _gate_canary(threads: int) -> Callable[[], object]:
    """Return what runs the gate's canary once, in this thread, as the artifact runs."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(GATE_FILE), num_threads=threads)
    interpreter.allocate_tensors()
    (detail,) = interpreter.get_input_details()
    interpreter.set_tensor(detail["index"], np.full(detail["shape"], 0.5, np.float32))
    invoke: Callable[[], object] = interpreter.invoke
    return invoke


@cache
def runtime_version(backend: Backend = Backend.CPU) -> str:
    """Return the version of a backend's runtime; empty: it is not installed, or says it itself."""
    distribution = HOST_RUNTIMES[backend].distribution
    try:
        return "" if distribution is None else version(distribution)
    except PackageNotFoundError:
        return ""


def main() -> None:
    """Run the request that the first argument names."""
    request = RunRequest.from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    die_with_parent(lambda: os.getppid() != request.parent_pid)
    run(request)


def start(request: RunRequest) -> TextIO:
    """Pin this process to the cores of the request and return the channel of its stage lines."""
    # The runtime may print to stdout; only stage lines may go to the parent's pipe.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if request.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, request.cores)
    return channel


def run(request: RunRequest) -> Never:
    """Run a request in this process, which prints its stages to stdout, and end it."""
    cache = request.weight_cache
    report = _measured(request) if cache is None else _initialized(request, cache)
    Path(request.folder, REPORT_FILE).write_text(json.dumps(report), encoding="utf-8")
    # Skips the interpreter's destructors: the report is written, nothing else is needed.
    sys.stderr.flush()
    os._exit(0)


def _measured(request: RunRequest) -> dict[str, Any]:
    runner = Runner(request, start(request))
    runner.run()
    return runner.report


def _initialized(request: RunRequest, cache: str) -> dict[str, Any]:
    start(request)
    return initialize(request.artifact, request.threads, cache, runtime_version())


if __name__ == "__main__":
    main()
