"""Files in nnlite's folder on the device: push with a hash check, remove, clean up.

The folder is below `/data/local/tmp`, which the shell may write and apps may
read by full path.
"""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

from nnlite.host.files import file_sha256
from nnlite.vocabulary import Fault
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.device import DeviceFailure

log = structlog.get_logger()

FOLDER: Final = "/data/local/tmp/nnlite"


class DeviceFiles:
    """nnlite's files on one device."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def path(self, name: str) -> str:
        """Return the remote path of nnlite's file `name`."""
        return f"{FOLDER}/{name}"

    def put(self, file: Path, name: str, sha256: str | None = None) -> str:
        """Push a file unless the device already has it (SHA-256 match). Returns the remote path.

        Raises:
            DeviceFailure: the push failed, or the pushed file has another hash.
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
        """Return the SHA-256 of a file on the device; None: no such file."""
        first = self._shell.shell_output(f"sha256sum {shlex.quote(remote)}").split()[:1]
        return first[0] if first and len(first[0]) == 64 else None

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files and folders; missing ones are ignored."""
        if listed := " ".join(shlex.quote(path) for path in paths):
            self._shell.run(f"rm -rf {listed}")

    def try_removing(self, paths: Iterable[str]) -> None:
        """Remove files and folders, best effort: after success, stop or failure; errors are only logged."""
        try:
            with self._shell.cleanup_mode():
                self.remove(paths)
        except DeviceFailure as failure:
            log.info("files stay on the device", serial=self._shell.serial, reason=failure.reason)

    def remove_all(self, *, keep: str = "") -> None:
        """Remove all of nnlite's files except `keep`."""
        others = f"{FOLDER} -mindepth 1 -maxdepth 1 ! -name {shlex.quote(keep)}"
        self._shell.run(f"find {others} -exec rm -rf {{}} +")

    def clean(self, *, keep: str = "") -> None:
        """Remove all of nnlite's files except `keep`, and trim the system's caches."""
        self.remove_all(keep=keep)
        self._shell.run("pm trim-caches 999999999999")
