"""The golden snapshot of an AVD: the device as it was when it first became ready, for each later boot.

It is made once, after a cold boot, with the app installed and the canary's output correct, and has a name
that depends on the emulator's version, the system image, the AVD's configuration and the emulator's options:
if one of them changes, it is not loaded, and another is made. One that cannot be loaded, or whose device does
not become ready, is dropped; after the second time in a row no more are made of these parts.

It is made by a command to the emulator's console, a text protocol on its console port
(https://developer.android.com/studio/run/emulator-console): after a greeting the client authenticates with
the token in `.emulator_console_auth_token` of the emulator's home; each answer ends with a line `OK`, or is
one `KO: why`.
"""

import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from nnlite.errors import NnliteError, Stopped
from nnlite.host.files import write_atomically

log = structlog.get_logger()

#: The first emulator with `-force-snapshot-load`, which ends instead of a silent cold boot.
FIRST_VERSION: Final = (34, 2, 14)
#: Snapshots of these parts that are dropped in a row before no more are made.
MAX_DROPPED: Final = 2
#: Memory of some GB is written to the disk.
_SAVE_TIMEOUT_S: Final = 300.0
_POLL_S: Final = 0.5
_CHUNK: Final = 4096
_NOTE: Final = "nnlite-snapshot.json"
_PREFIX: Final = "nnlite-"
#: What of an AVD's `config.ini` makes another device; an emulator may add to the file.
_HARDWARE: Final = (
    "abi.type",
    "disk.dataPartition.size",
    "hw.cpu.ncore",
    "hw.device.name",
    "hw.gpu.mode",
    "hw.lcd.density",
    "hw.lcd.height",
    "hw.lcd.width",
    "hw.ramSize",
    "image.sysdir.1",
)
_REVISION: Final = re.compile(r"^Pkg\.Revision\s*=\s*(\d+)\.(\d+)\.(\d+)", re.MULTILINE)


class ConsoleError(NnliteError):
    """The console does not answer, or says no."""


class GoldenSnapshot:
    """The golden snapshot of one AVD, whether it is made yet or not."""

    def __init__(self, avd: Path, sdk: Path, image: Path, options: Sequence[str], *, wanted: bool) -> None:
        """Find out what there is.

        Args:
            avd: folder of the AVD.
            sdk: the Android SDK's folder.
            image: folder of the system image.
            options: of the emulator, which determine the virtual hardware.
            wanted: whether the settings ask for snapshots.
        """
        self._avd = avd
        emulator = _text(sdk / "emulator" / "source.properties")
        hardware = [line for line in _lines(avd / "config.ini") if line.partition("=")[0] in _HARDWARE]
        parts = [emulator, _text(image / "source.properties"), *hardware, *options]
        self.name: Final = _PREFIX + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
        self._wanted = wanted and self._is_possible(emulator)

    @property
    def is_loadable(self) -> bool:
        """Whether the next boot may load it."""
        return self._wanted and bool(self._note().get("saved")) and (self._folder / self.name).is_dir()

    def save(self, port: int, home: Path, stop: threading.Event) -> None:
        """Make it of the running device, which is ready, and delete those of other parts.

        A failure is logged: the next boot is a cold one. For the arguments see `command`.
        """
        if not self._wanted:
            return

        def tell(verb: str, name: str) -> None:
            command(port, home, f"avd snapshot {verb} {name}", timeout_s=_SAVE_TIMEOUT_S, stop=stop)

        try:
            if is_made := self._dropped < MAX_DROPPED:
                self._write(saved=False, dropped=self._dropped)
                tell("save", self.name)
                self._write(saved=True, dropped=self._dropped)
                log.info("the ready device is saved as a snapshot", avd=self._avd.stem, snapshot=self.name)
        except (ConsoleError, OSError) as error:
            self.drop(str(error))
            return
        try:
            for other in sorted(path.name for path in self._folder.glob(f"{_PREFIX}*")):
                if not (is_made and other == self.name):
                    tell("delete", other)
        except ConsoleError as error:
            log.warning("an old snapshot is left", avd=self._avd.stem, reason=str(error))

    def drop(self, reason: str) -> None:
        """Never load it again: it cannot be made or loaded, or its device does not become ready."""
        dropped = self._dropped + 1
        log.warning("the snapshot is dropped", avd=self._avd.stem, snapshot=self.name, reason=reason)
        if dropped == MAX_DROPPED:
            log.warning("no more snapshots of this AVD are made", avd=self._avd.stem, snapshot=self.name)
        with suppress(OSError):  # a full disk: the next boot tries once more
            self._write(saved=False, dropped=dropped)

    def helped(self) -> None:
        """Note that its device became ready: what was dropped before no longer counts."""
        if self._dropped:
            with suppress(OSError):  # a full disk: the next boot tries once more
                self._write(saved=True, dropped=0)

    def forget(self) -> None:
        """Do not load it again: its device is wiped."""
        self._write(saved=False, dropped=self._dropped)

    @property
    def _folder(self) -> Path:
        return self._avd / "snapshots"

    @property
    def _dropped(self) -> int:
        return int(self._note().get("dropped", 0))

    def _is_possible(self, emulator: str) -> bool:
        if "fastboot.forceColdBoot=yes" in _lines(self._avd / "config.ini"):
            log.info("boots are cold: fastboot.forceColdBoot in its config.ini", avd=self._avd.stem)
            return False
        match = _REVISION.search(emulator)
        if match is None or tuple(map(int, match.groups())) < FIRST_VERSION:
            log.info("boots are cold: snapshots need a newer emulator", oldest=FIRST_VERSION)
            return False
        return True

    def _note(self) -> dict[str, Any]:
        """Return what is known of the snapshot of this name."""
        try:
            note = json.loads(_text(self._avd / _NOTE))
        except ValueError:
            return {}
        return note if isinstance(note, dict) and note.get("name") == self.name else {}

    def _write(self, **values: int) -> None:
        write_atomically(self._avd / _NOTE, json.dumps({"name": self.name, **values}))


def command(port: int, home: Path, words: str, *, timeout_s: float, stop: threading.Event) -> None:
    """Give one command to an emulator and wait for its `OK`.

    Args:
        port: of the console, on this host.
        home: the emulator's HOME, which has the token.
        words: the command: `avd snapshot save NAME`.
        timeout_s: for the whole exchange.
        stop: cancels it.

    Raises:
        ConsoleError: it answers `KO`, or not in time.
        Stopped: the worker was asked to stop.
    """
    deadline_s = time.monotonic() + timeout_s
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_POLL_S) as console:
            _answer(console, deadline_s, stop)
            token = (home / ".emulator_console_auth_token").read_text().strip()
            for line in (f"auth {token}", words):
                console.sendall(f"{line}\n".encode())
                _answer(console, deadline_s, stop)
    except OSError as error:
        raise ConsoleError(f"the emulator's console on port {port}: {error}") from error


def _answer(console: socket.socket, deadline_s: float, stop: threading.Event) -> None:
    """Read up to the line that ends an answer."""
    text = ""
    while True:
        last = text.splitlines()[-1:] if text.endswith("\n") else []
        if last == ["OK"]:
            return
        if last and last[0].startswith("KO"):
            raise ConsoleError(f"the emulator's console says: {last[0]}")
        if stop.is_set():
            raise Stopped("stopped while the emulator's console was at work")
        if time.monotonic() > deadline_s:
            raise ConsoleError("the emulator's console did not answer in time")
        with suppress(TimeoutError):
            received = console.recv(_CHUNK)
            if not received:
                raise ConsoleError("the emulator's console hung up")
            text += received.decode(errors="replace")


def _lines(ini: Path) -> list[str]:
    """Return the lines of an `.ini` file, sorted and without blanks."""
    return sorted(line.replace(" ", "") for line in _text(ini).splitlines())


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
