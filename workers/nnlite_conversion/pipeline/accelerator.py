"""The GPU, where there is one: a network's reference passes run on it, everything else on the CPU.

A process that has touched CUDA cannot be forked (torch's notes on multiprocessing, "poison fork"). So a
worker hides every GPU from itself (`preload`) and only chooses one (`choose_gpu`), by a probe in a forked
child; a conversion's child inherits the choice and opens the GPU at its first pass. What a GPU does not do,
the CPU does, and a note says so: rows are the same but for rounding.
"""

import copy
import os
import select
import signal
from collections.abc import Callable, Sized
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeVar

import structlog
import torch

from nnlite.errors import NnliteError
from nnlite.settings import PREFIX, Settings
from nnlite_conversion import explanations
from nnlite_conversion.isolation import sandbox
from nnlite_conversion.outcome import Accelerated

log = structlog.get_logger()

CPU: Final = torch.device("cpu")
VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
#: Longest that the driver may take to open a GPU, seconds.
PROBE_TIMEOUT_S: Final = 60.0
_NODES: Final = ("/dev/nvidiactl", "/dev/dxg")
T = TypeVar("T")


class AcceleratorError(NnliteError):
    """A GPU was asked for and there is none that works."""


@dataclass
class _Choice:
    """What this process knows of its GPU; forks inherit it."""

    #: Its place in CUDA_VISIBLE_DEVICES; None: there is none to use.
    gpu: str | None = None
    name: str = ""
    #: Why this child's passes went back to the CPU; None: they did not.
    note: str | None = None


_choice = _Choice()


def choose_gpu(settings: Settings, visible: str | None) -> None:
    """Choose what this worker's children run reference passes on, and say so in the log.

    Args:
        visible: CUDA_VISIBLE_DEVICES as the worker was given it; the first GPU that it names is taken.

    Raises:
        AcceleratorError: NNLITE_DEVICE is `cuda` and no GPU can be used.
    """
    _choice.gpu = None
    name: str | None = None
    why: str | None = None
    gpu = "0" if visible is None else visible.partition(",")[0].strip()
    if settings.device == "cpu":
        return
    if gpu in {"", "-1"}:
        why = f"{VISIBLE}={visible} hides all"
    elif not any(map(os.path.exists, _NODES)):
        why = f"there is no {_NODES[0]}"
    else:
        name, why = _probe(gpu, sandbox.unprivileged_uid() if settings.conversion.drop_privileges else None)
    if name is not None:
        _choice.gpu, _choice.name, _choice.note = gpu, name, None
        log.info("reference passes run on a GPU", gpu=name)
    elif settings.device == "cuda":
        raise AcceleratorError(
            f"{PREFIX}DEVICE=cuda, but no GPU can be used: {why}; see to NVIDIA's driver and a torch built "
            f"for CUDA, or set {PREFIX}DEVICE=auto"
        )
    else:
        log.info("reference passes run on the CPU", reason=why)


def run(network: torch.nn.Module, work: Callable[[torch.nn.Module, torch.device], T]) -> T:
    """Return `work(network, device)`, done on the GPU where that can be, else on the CPU.

    The GPU gets a copy, so that the network stays as it is whatever becomes of the pass. A pass that keeps
    something in its network is made again on the CPU: what is exported must have kept it too.

    Args:
        network: on the CPU, with all its weights made.
        work: brings its inputs to the device and its results back; must do the same when called again.

    Raises:
        Exception: what `work` raises on the CPU; what it raises on a GPU is a note.
    """
    if _choice.gpu is not None and _choice.note is None:
        try:
            gpu = _opened(_choice.gpu)
            placed = copy.deepcopy(network).to(gpu)
            before = _kept(placed)
            with _exact():
                result = work(placed, gpu)
            if _same(before, _kept(placed)):
                return result
            _leave("its forward pass keeps something in the network")
        except (Exception, SystemExit) as error:  # noqa: BLE001  (the CPU's answer is the one that counts)
            memory = isinstance(error, torch.OutOfMemoryError)
            _leave(f"{'out of GPU memory' if memory else 'it fails there'}: {explanations.summary(error)}")
    return work(network, CPU)


def accelerated() -> Accelerated | None:
    """Return the GPU of this conversion and why it was left, if it was; None where there is none."""
    return None if _choice.gpu is None else Accelerated(gpu=_choice.name, note=_choice.note)


def _leave(note: str) -> None:
    """Stay on the CPU from here on: after some errors, no kernel runs on that GPU any more."""
    _choice.note = f"on the CPU: {note}"[:500]


@cache
def _opened(gpu: str) -> torch.device:
    """Open the GPU; for forked children only."""
    os.environ[VISIBLE] = gpu
    torch.zeros(1, device="cuda")
    return torch.device("cuda", 0)


def _exact() -> torch.backends.cudnn.flags:
    """Return a context of passes without TF32, whose 10 bits would exceed the limits of parity."""
    torch.backends.cuda.matmul.allow_tf32 = False
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def _kept(network: torch.nn.Module) -> list[tuple[object, int, int]]:
    """Return what a network holds, each with how often it was written to in place and its length."""
    held = [value for module in network.modules() for value in vars(module).values()]
    held += [*network.parameters(), *network.buffers()]
    return [
        (value, getattr(value, "_version", 0), len(value) if isinstance(value, Sized) else 0)
        for value in held
    ]


def _same(before: list[tuple[object, int, int]], after: list[tuple[object, int, int]]) -> bool:
    """Whether a pass left alone what the network holds."""
    return len(before) == len(after) and all(
        one is other and counts == counted
        for (one, *counts), (other, *counted) in zip(before, after, strict=True)
    )


def _probe(gpu: str, uid: int | None) -> tuple[str | None, str | None]:
    """Open the GPU in a child as a conversion's is; return its name, or why it cannot be opened."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            said = _opened_in_sandbox(gpu, uid, writing)
        except BaseException as error:  # noqa: BLE001  (below it is the worker's stack)
            said = f"-{explanations.summary(error)}"
        os.write(writing, said.encode()[:4096])
        os._exit(0)
    os.close(writing)
    try:
        answered, _, _ = select.select([reading], [], [], PROBE_TIMEOUT_S)
        said = os.read(reading, 4096).decode(errors="replace") if answered else ""
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if said.startswith("+"):
        return said[1:], None
    return None, said[1:] or f"the driver did not open GPU {gpu} within {PROBE_TIMEOUT_S:g} s, or crashed"


def _opened_in_sandbox(gpu: str, uid: int | None, descriptor: int) -> str:
    sandbox.keep_only({descriptor})
    sandbox.enter_namespaces(network=False)
    sandbox.drop_privileges(uid)
    return f"+{torch.cuda.get_device_name(_opened(gpu))}"
