"""The snapshots of an AVD: named copies of its data, which a boot can load instead of booting.

Its memory is not kept: what runs on the device is started again, but has booted at once. A snapshot is valid
for the emulator, the image and the hardware that it was saved with, and only if all of it was written.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

#: Written last.
RAM = "ram.bin"
#: What it was saved with.
HARDWARE = "hardware.ini"


class Snapshots:
    """The snapshots of one AVD."""

    def __init__(self, avd: Path, data: Path, hardware: Sequence[str]) -> None:
        """Args: `data` of the device is copied; `hardware` must be the same when it is loaded."""
        self._folder = avd / "snapshots"
        self._data = data
        self._hardware = "\n".join(hardware)

    def answer(self, words: str) -> str:
        """Answer a command of the console: `save NAME`, `delete NAME`, `list`."""
        verb, _, name = words.partition(" ")
        if verb == "list":
            names = sorted(path.name for path in self._folder.glob("*"))
            return "".join(f"--        {each}\r\n" for each in names) + "OK\r\n"
        if verb not in {"save", "delete"}:
            return "KO: bad sub-command\r\n"
        if not name:
            return f"KO: Argument missing, try 'avd snapshot {verb} <name>'\r\n"
        shutil.rmtree(self._folder / name, ignore_errors=True)
        if verb == "save":
            self._save(self._folder / name)
        return "OK\r\n"

    def load(self, name: str) -> bool:
        """Give the device the data of a snapshot; False: there is none that fits."""
        folder = self._folder / name
        hardware = folder / HARDWARE
        if not (folder / RAM).is_file() or hardware.read_text() != self._hardware:
            return False
        shutil.rmtree(self._data, ignore_errors=True)
        _copy(folder / "data", self._data)
        return True

    def delete(self, name: str) -> None:
        """Delete a snapshot."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def _save(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        _copy(self._data, folder / "data")
        (folder / HARDWARE).write_text(self._hardware)
        (folder / RAM).write_bytes(b"the rig keeps no memory\n")


def _copy(source: Path, target: Path) -> None:
    # Of files that come and go while it copies, some are missing: as after a loss of power.
    subprocess.run(["cp", "-a", str(source), str(target)], check=False, stderr=subprocess.DEVNULL)
