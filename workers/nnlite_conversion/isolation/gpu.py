"""Chooses the GPU that conversion children use, by opening it in a forked child.

A process that has touched CUDA cannot be forked (torch's notes on multiprocessing, "poison fork"), so the
worker opens no GPU itself, and the process that forks conversions hides them all from itself (`preload`).
"""

import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from nnlite.errors import NnliteError
from nnlite.host.child_process import how_it_ended
from nnlite.settings import PREFIX, Settings
from nnlite_conversion import explanations
from nnlite_conversion.isolation import sandbox, seccomp
from nnlite_conversion.outcome import Gpu

log = structlog.get_logger()

#: Longest time to import PyTorch in the child, on a machine that may be busy, and to open a GPU, seconds.
PROBE_TIMEOUT_S: Final = 150.0
_DEVICE_NODES: Final = ("/dev/nvidiactl", "/dev/dxg")


class AcceleratorError(NnliteError):
    """A GPU was requested and none can be used."""


def choose_gpu(settings: Settings, visible: str | None, open_gpu: Callable[[str], str]) -> Gpu | None:
    """Return the GPU that this worker's children run reference passes on, and log the choice; None: the CPU.

    Args:
        settings: `device` and the sandbox.
        visible: CUDA_VISIBLE_DEVICES as the worker was started with; the first GPU in it is taken.
        open_gpu: opens a GPU and returns its name; called in a forked child only.

    Raises:
        AcceleratorError: NNLITE_DEVICE is `cuda` and no GPU can be used.
    """
    if settings.device == "cpu":
        return None
    device = "0" if visible is None else visible.partition(",")[0].strip()
    gpu: Gpu | None = None
    reason: str | None = None
    if device in {"", "-1"}:
        reason = f"CUDA_VISIBLE_DEVICES={visible} hides all"
    elif not any(map(os.path.exists, _DEVICE_NODES)):
        reason = f"there is no {_DEVICE_NODES[0]}"
    else:
        uid = sandbox.unprivileged_uid() if settings.conversion.drop_privileges else None
        gpu, reason = _probe(device, uid, open_gpu)
    if gpu is not None:
        log.info("reference passes run on a GPU", gpu=gpu.name)
    elif settings.device == "cuda":
        raise AcceleratorError(
            f"{PREFIX}DEVICE=cuda, but no GPU can be used: {reason}; see to NVIDIA's driver and a torch "
            f"built for CUDA, or set {PREFIX}DEVICE=auto"
        )
    else:
        log.info("reference passes run on the CPU", reason=reason)
    return gpu


def _probe(device: str, uid: int | None, open_gpu: Callable[[str], str]) -> tuple[Gpu | None, str | None]:
    """Open the GPU in a child sandboxed like a conversion's; return it, or why it cannot be opened."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            answer = _opened_in_sandbox(device, uid, writing, open_gpu)
        except BaseException as error:  # noqa: BLE001  (nothing may return into the worker's code)
            answer = f"-{explanations.summary(error)}"
        os.write(writing, answer.encode()[:4096])
        os._exit(0)
    os.close(writing)
    try:
        readable, _, _ = select.select([reading], [], [], PROBE_TIMEOUT_S)
        answer = os.read(reading, 4096).decode(errors="replace") if readable else ""
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if answer:
        opened, rest = answer.startswith("+"), answer[1:]
        return (Gpu(device=device, name=rest), None) if opened else (None, rest)
    if readable:
        how = how_it_ended(os.waitstatus_to_exitcode(status))
        return None, f"the process that imports PyTorch and opens GPU {device} {how}"
    return None, f"importing PyTorch and opening GPU {device} took more than {PROBE_TIMEOUT_S:g} s"


def _opened_in_sandbox(device: str, uid: int | None, descriptor: int, open_gpu: Callable[[str], str]) -> str:
    sandbox.keep_only({descriptor})
    sandbox.enter_namespaces(network=False)
    sandbox.drop_privileges(uid)
    with suppress(OSError):  # no model code runs here: nothing has to be proven
        seccomp.forbid_network()
    return f"+{open_gpu(device)}"
