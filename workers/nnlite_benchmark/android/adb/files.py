"""Our folder on the device: files go in with their hash checked, and out again when done.

It lies below `/data/local/tmp`, which the shell may write and apps may read by
full path.
"""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

from nnlite.artifacts.store import file_sha256
from nnlite.vocabulary import Fault
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.device import DeviceFailure

log = structlog.get_logger()

FOLDER: Final = "/data/local/tmp/nnlite"


class DeviceFiles:
    """The files of ours on one device."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def path(self, name: str) -> str:
        """Return where a file of ours lies on the device."""
        return f"{FOLDER}/{name}"

    def put(self, file: Path, name: str, sha256: str | None = None) -> str:
        """Bring a file to the device, unless it is there with the right hash, and return its path there.

        Raises:
            DeviceFailure: it cannot be pushed, or arrives as something else.
        """
        remote = self.path(name)
        expected = sha256 or file_sha256(file)
        if self.sha256_of(remote) == expected:
            return remote
        self._shell.run(f"mkdir -p {FOLDER} && chmod 755 {FOLDER}")
        self._shell.push(file, remote)
        if (arrived := self.sha256_of(remote)) != expected:
            raise DeviceFailure(
                Fault.COMMAND_FAILED,
                self._shell.stage,
                f"{self._shell.serial}: {name} arrived with hash {arrived or 'unknown'}, not {expected}",
            )
        return remote

    def sha256_of(self, remote: str) -> str | None:
        """Return the hash of a file on the device; None: there is no such file."""
        first = self._shell.ask(f"sha256sum {shlex.quote(remote)}").split()[:1]
        return first[0] if first and len(first[0]) == 64 else None

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files and folders; those that are not there are no error."""
        if listed := " ".join(shlex.quote(path) for path in paths):
            self._shell.run(f"rm -rf {listed}")

    def try_removing(self, paths: Iterable[str]) -> None:
        """Remove files and folders when done, stopped or failed; a device that is gone is cleaned later."""
        try:
            with self._shell.cleanup_mode():
                self.remove(paths)
        except DeviceFailure as failure:
            log.info("files stay on the device", serial=self._shell.serial, reason=failure.reason)

    def clean(self, *, keep: str = "") -> None:
        """Remove everything of ours but the file `keep`, and let the system drop its caches."""
        others = f"{FOLDER} -mindepth 1 -maxdepth 1 ! -name {shlex.quote(keep)}"
        self._shell.run(f"find {others} -exec rm -rf {{}} +; pm trim-caches 999999999999")
