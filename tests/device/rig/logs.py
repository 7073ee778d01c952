"""The log buffers of a virtual device, in the format of `logcat -v threadtime`."""

import os
import time
from pathlib import Path

from device.rig.faults import Fault, FaultBox

FOLDER = Path("/data/misc/logd")
#: Default of the jump of the clock, seconds.
JUMP_S = -5 * 365 * 86400


def now_s(faults: FaultBox) -> float:
    """Return the device's clock, seconds since 1970."""
    command = faults.command(Fault.CLOCK_JUMPS)
    return time.time() + (float(command.parameters.get("seconds", JUMP_S)) if command else 0.0)


def log(buffer: str, level: str, tag: str, text: str, *, faults: FaultBox, pid: int | None = None) -> None:
    """Append lines to a buffer (`main` or `crash`)."""
    pid = os.getpid() if pid is None else pid
    seconds = now_s(faults)
    stamp = time.strftime("%m-%d %H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}"
    lines = "".join(f"{stamp} {pid:5d} {pid:5d} {level} {tag:<8}: {line}\n" for line in text.splitlines())
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / buffer).open("a") as file:
        file.write(lines)
