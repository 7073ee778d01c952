"""The app's TensorFlow Lite library for phones' own processors (arm64) on an x86-64 host, under qemu-user.

`make runtime-check-arm64` puts the unmodified library into a folder with its shim, a C library, and a program
that runs one artifact once. Phones run the same kernels, far faster. Imports the standard library only.
"""

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from nnlite.host.tflite_library import DTYPES, RefusedError

#: The program in such a folder.
RUN_ARTIFACT: Final = "run_artifact"
_QEMU: Final = ("qemu-aarch64", "qemu-aarch64-static")
#: Its exit status if the library refuses the artifact.
_REFUSED: Final = 3
#: Type, shape and little-endian data.
Output = tuple[str, tuple[int, ...], bytes]
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9


def emulated(folder: Path) -> tuple[str | Path, ...]:
    """Return the command line that runs the program of a folder; its arguments follow.

    Raises:
        FileNotFoundError: qemu-user is not installed.
    """
    qemu = next(filter(None, map(shutil.which, _QEMU)), None)
    if qemu is None:
        raise FileNotFoundError(f"{_QEMU[0]} is not in PATH")
    return (qemu, "-L", folder, folder / RUN_ARTIFACT)


def run_emulated(folder: Path, artifact: str, inputs: Sequence[str], place: Path) -> list[Output]:
    """Run one artifact once; return type, shape and little-endian data of each output.

    Args:
        inputs: a raw little-endian file for each, in the artifact's order.
        place: a folder for the outputs.

    Raises:
        RefusedError: the library rejects the artifact or its inputs.
        OSError: the program failed; it ends with the library.
    """
    command = [*emulated(folder), folder, artifact, place, *inputs]
    end_with_parent = partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=end_with_parent)
    said = done.stderr.strip()
    if done.returncode == _REFUSED:
        raise RefusedError(said)
    if done.returncode:
        raise OSError(f"{RUN_ARTIFACT} ended with {done.returncode}: {said[-2000:]}")
    return [_output(place, number, line) for number, line in enumerate(done.stdout.splitlines())]


def _output(place: Path, number: int, line: str) -> Output:
    kind, *shape = map(int, line.split())
    if kind not in DTYPES:
        raise RefusedError(f"output {number} has type {kind}, which is no number")
    data = (place / f"output_{number}.raw").read_bytes()
    return DTYPES[kind], tuple(shape), data
