"""The request for one run of the app: the arguments of `am instrument`, quoted for the device's shell."""

import re
import shlex
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from nnlite.vocabulary import Backend
from nnlite_benchmark.android.app.crashes import PACKAGE
from nnlite_benchmark.protocol.gating import Gate
from nnlite_benchmark.protocol.runs import Bounds

INSTRUMENTATION: Final = f"{PACKAGE}/.BenchmarkInstrumentation"
ACTIVITY: Final = f"{PACKAGE}/.BenchmarkActivity"


class Transfer(StrEnum):
    """How outputs and samples are transferred to the host."""

    AUTO = "auto"  # as files; as chunks if they cannot be written
    STATUS = "status"  # always as chunks in instrumentation statuses


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Arguments of one run."""

    #: Hexadecimal; also the name of the outputs' folder.
    run: str
    #: Full path on the device.
    model: str
    #: Full paths on the device, in the artifact's order.
    inputs: tuple[str, ...]
    #: How many samples each has, one behind the other: all are run, untimed, and their first outputs are one
    #: output. 0: the input of timed runs.
    samples: int = 0
    backend: Backend
    threads: int
    #: Cores that the measuring thread is bound to; empty: as the scheduler likes.
    cores: tuple[int, ...] = ()
    #: Whether the GPU may compute in fp16.
    precision_loss: bool
    #: Hexadecimal; name under which the GPU delegate keeps its compiled programs. Empty: it keeps none.
    programs: str = ""
    #: Seconds of runs without pauses, which are reported in bins; 0: timed runs.
    continuous_s: float = 0.0
    #: Whether the window asks for sustained performance.
    sustained: bool = False
    #: The app waits for a thermal headroom below this before it begins, at most `cool_s`; 0: it does not.
    max_headroom: float = 0.7
    cool_s: float = 0.0
    transfer: Transfer = Transfer.AUTO
    #: The Android user that the app runs as.
    user: int = 0
    bounds: Bounds
    #: None: every timed run counts.
    gate: Gate | None = None
    #: Full path of the gate's canary on the device; with a gate.
    gate_model: str = ""


def command_line(request: RunRequest) -> str:
    """Return the device's shell command line for one run.

    Raises:
        ValueError: the run is not hexadecimal, or an input's path has a comma.
    """
    if not re.fullmatch(r"[0-9a-f]{1,64}", request.run):
        raise ValueError(f"run {request.run!r} is not hexadecimal")
    if invalid := next((path for path in request.inputs if "," in path), None):
        raise ValueError(f"input {invalid!r} has a comma, which separates inputs; push it under another name")
    bounds = {name: _number(value) for name, value in vars(request.bounds).items()}
    arguments = {
        "run": request.run,
        "model": request.model,
        "inputs": ",".join(request.inputs),
        "backend": request.backend.value,
        "threads": str(request.threads),
        "precision_loss": "true" if request.precision_loss else "false",
        "transfer": request.transfer.value,
        **bounds,
    }
    optional = {
        "samples": request.samples and str(request.samples),
        "cores": ",".join(map(str, request.cores)),
        "programs": request.programs,
        "continuous_s": request.continuous_s and _number(request.continuous_s),
        "sustained": request.sustained and "true",
    }
    arguments |= {name: str(value) for name, value in optional.items() if value}
    if request.cool_s > 0:
        arguments |= {"max_headroom": _number(request.max_headroom), "cool_s": _number(request.cool_s)}
    if request.gate is not None:
        arguments |= {"gate_model": request.gate_model, **_gate(request.gate)}
    words = ["am", "instrument", "-w", "-r", "--user", str(request.user)]
    for key, value in arguments.items():
        words += ["-e", key, value]
    return shlex.join([*words, INSTRUMENTATION])


def _gate(gate: Gate) -> dict[str, str]:
    numbers = {name: _number(value) for name, value in vars(gate).items() if name != "fast_ns"}
    return numbers | {"gate_fast_ns": str(gate.fast_ns or 0)}


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
