"""Memory of the measuring process: the model's and the process's size at a stage, and what is in huge pages.

Imports the standard library only. See smaps in proc(5).
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SELF = Path("/proc/self")
#: Makes glibc's allocator (2.35 and newer) ask the kernel for huge pages, which most distributions give only
#: to processes that ask. Pages of 4 kB are at other physical addresses in each process: for that alone, the
#: latency of a large model differs between processes, by up to 63 % in a virtual machine.
HUGE_PAGES: Final = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def huge_pages_kb(process: Path = SELF) -> int | None:
    """Return the memory of this process that is in huge pages, kB; None: none were asked for, or unknown."""
    if not HUGE_PAGES.items() <= os.environ.items():
        return None
    try:
        lines = (process / "smaps_rollup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("AnonHugePages:")), None)


class MemoryUse:
    """Memory since before the artifact was loaded, kB; every figure is None where /proc does not tell."""

    def __init__(self, artifact: str, process: Path = SELF) -> None:
        self._artifact = str(Path(artifact).resolve())
        self._process = process
        self.baseline_rss_kb = self._status_kb("VmRSS")
        self._before_kb = self._model_kb()
        self._reset_peak()

    def now(self) -> dict[str, int | None]:
        """Return the fields of a report's `StageMemory` now."""
        model_kb = self._model_kb()
        known = model_kb is not None and self._before_kb is not None
        return {
            "model_kb": max(model_kb - self._before_kb, 0) if known else None,  # type: ignore[operator]
            "process_kb": self.peak_rss_kb,
        }

    @property
    def peak_rss_kb(self) -> int | None:
        """VmHWM: the most that the process had since before the artifact."""
        return self._status_kb("VmHWM")

    def _model_kb(self) -> int | None:
        try:
            with (self._process / "smaps").open(encoding="utf-8", errors="replace") as smaps:
                return model_kb(smaps, self._artifact)
        except OSError:
            return None

    def _status_kb(self, field: str) -> int | None:
        try:
            with (self._process / "status").open(encoding="utf-8", errors="replace") as status:
                return next((int(line.split()[1]) for line in status if line.startswith(f"{field}:")), None)
        except OSError:
            return None

    def _reset_peak(self) -> None:
        """Reset VmHWM to the memory in use now."""
        clear = self._process / "clear_refs"
        if clear.exists():
            clear.write_text("5")


def model_kb(smaps: Iterable[str], artifact: str) -> int:
    """Return the resident memory that no file backs, and that of the artifact's mapped file, kB.

    Pages of libraries are left out: another process may have loaded them as well.
    """
    total_kb, is_artifact = 0, False
    for line in smaps:
        words = line.split(maxsplit=5)
        if not words[0].endswith(":"):  # the first line of a mapping: addresses, ..., its file
            is_artifact = len(words) > 5 and words[5].strip() == artifact
        elif words[0] == ("Rss:" if is_artifact else "Anonymous:"):
            total_kb += int(words[1])
    return total_kb
