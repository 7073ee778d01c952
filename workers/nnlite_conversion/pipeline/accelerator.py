"""Runs a network's reference passes on the GPU that the worker chose (`isolation.gpu`), else on the CPU.

Everything else of a conversion runs on the CPU. A pass that fails on the GPU is repeated on the CPU, and a
note says why; artifacts and rows are the same but for rounding.
"""

import copy
import os
from collections.abc import Callable, Sized
from functools import cache
from typing import Final, TypeVar

import torch

from nnlite_conversion import explanations
from nnlite_conversion.outcome import Accelerated, Gpu

CPU: Final = torch.device("cpu")
T = TypeVar("T")


class _State:
    """This child's GPU."""

    #: None: there is none to use.
    gpu: Gpu | None = None
    #: Why passes run on the CPU since; None: they do not.
    note: str | None = None


_state = _State()


def use(gpu: Gpu | None) -> None:
    """Set the GPU that later passes of this process run on; None: the CPU."""
    _state.gpu, _state.note = gpu, None


def run(network: torch.nn.Module, work: Callable[[torch.nn.Module, torch.device], T]) -> T:
    """Return `work(network, device)`, on the GPU if there is one and it succeeds there, else on the CPU.

    The GPU gets a copy, so that a failing pass leaves the network unchanged. A pass that changes its network
    is repeated on the CPU, because the network that is exported must have the same changes.

    Args:
        network: on the CPU, with all its weights initialized.
        work: moves its inputs to the device and its results back; must be repeatable.

    Raises:
        Exception: what `work` raises on the CPU; an error on the GPU becomes the note.
    """
    if _state.gpu is not None and _state.note is None:
        try:
            gpu = _opened(_state.gpu.device)
            placed = copy.deepcopy(network).to(gpu)
            before = _buffers_of(placed)
            with _full_precision():
                result = work(placed, gpu)
            if _buffers_equal(before, _buffers_of(placed)):
                return result
            _fall_back_to_cpu("its forward pass keeps something in the network")
        except (Exception, SystemExit) as error:  # noqa: BLE001  (the CPU decides whether the model fails)
            problem = "out of GPU memory" if isinstance(error, torch.OutOfMemoryError) else "it fails there"
            _fall_back_to_cpu(f"{problem}: {explanations.summary(error)}")
    return work(network, CPU)


def accelerated() -> Accelerated | None:
    """Return the GPU of this conversion and why passes left it, if they did; None without a GPU."""
    return None if _state.gpu is None else Accelerated(gpu=_state.gpu.name, note=_state.note)


def open_gpu(device: str) -> str:
    """Open a GPU, named as in CUDA_VISIBLE_DEVICES, and return its name; for forked children only."""
    return str(torch.cuda.get_device_name(_opened(device)))


def _fall_back_to_cpu(note: str) -> None:
    """Run this and later passes on the CPU: after some errors a GPU executes no kernel any more."""
    _state.note = f"on the CPU: {note}"[:500]


@cache
def _opened(device: str) -> torch.device:
    os.environ["CUDA_VISIBLE_DEVICES"] = device
    torch.zeros(1, device="cuda")
    return torch.device("cuda", 0)


def _full_precision() -> torch.backends.cudnn.flags:
    """Return a context without TF32, whose mantissa of 10 bits would exceed the limits of parity."""
    torch.backends.cuda.matmul.allow_tf32 = False
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def _buffers_of(network: torch.nn.Module) -> list[tuple[object, int, int]]:
    """Return parameters, buffers and attributes of a network, each with its version counter and length."""
    held = [value for module in network.modules() for value in vars(module).values()]
    held += [*network.parameters(), *network.buffers()]
    return [
        (value, getattr(value, "_version", 0), len(value) if isinstance(value, Sized) else 0)
        for value in held
    ]


def _buffers_equal(before: list[tuple[object, int, int]], after: list[tuple[object, int, int]]) -> bool:
    """Whether a pass left parameters, buffers and attributes of its network unchanged."""
    return len(before) == len(after) and all(
        one is other and counts == counted
        for (one, *counts), (other, *counted) in zip(before, after, strict=True)
    )
