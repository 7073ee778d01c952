"""Incremental parser of the output of `am instrument -w -r` during one run of the app.

The text comes from a device, so every line, number and report is validated here
and every size is limited. The format is that of AOSP's `am`:
https://android.googlesource.com/platform/frameworks/base/+/refs/heads/android11-release/cmds/am/src/com/android/commands/am/Instrument.java
"""

import base64
import binascii
import codecs
import re
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from nnlite.reports.schema import RunReport
from nnlite.vocabulary import Stage
from nnlite_benchmark.android.app.chunks import MAX_CHUNKS_BYTES, Chunk

#: The stages that the app reports, in order.
STAGES: Final = (Stage.INITIALIZE, Stage.WARM_UP, Stage.RUN)

#: Size limit of a line and of a report, characters.
MAX_LINE_CHARS: Final = 1024 * 1024
#: Size limit of all values of one bundle, characters.
MAX_BUNDLE_CHARS: Final = 2 * MAX_LINE_CHARS
#: Size limit of the output: all chunks in base64, with the lines around them.
MAX_STREAM_CHARS: Final = MAX_CHUNKS_BYTES * 3 // 2 + 2 * MAX_BUNDLE_CHARS
#: Size limit of one chunk, bytes; the app sends 48 kB.
MAX_CHUNK_BYTES: Final = 64 * 1024
#: How much of unrecognised lines is kept for the error message of a run that did not start.
MAX_LOOSE_CHARS: Final = 4000
MAX_MESSAGE_CHARS: Final = 2000

_STAGE_CODE: Final = "1"
_CHUNK_CODE: Final = "2"
_HIDDEN_CODE: Final = "3"
_RESULT_OK: Final = "-1"
_RESULT_CANCELED: Final = "0"

_VALUE: Final = re.compile(r"INSTRUMENTATION_(?P<bundle>STATUS|RESULT): (?P<key>[^=]{1,100})=(?P<value>.*)")
_CODE: Final = re.compile(r"INSTRUMENTATION_(?P<status>STATUS_)?CODE: (?P<code>-?\d{1,10})")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
#: Error lines of `am`.
_FAILED: Final = re.compile(
    r"(?P<aborted>INSTRUMENTATION_ABORTED: )|INSTRUMENTATION_FAILED: |onError: commandError=true |Error: "
    r"|Error type \d|Exception occurred while |(?:java|android)\.[\w.]+(?:Exception|Error)\b|cmd: |"
    r"(?:/system/bin/)?sh: .*: (?:not found|inaccessible)"
)


@dataclass(frozen=True, kw_only=True)
class StageEntered:
    """The app began a stage."""

    stage: Stage
    pid: int
    #: None before warm-up.
    first_inference_ns: int | None


@dataclass(frozen=True, kw_only=True)
class WindowMissing:
    """The app's window does not come to the front; the app waits a little longer."""


@dataclass(frozen=True, kw_only=True)
class Reported:
    """The run has ended with a report, possibly of a refusal by the runtime."""

    report: RunReport


@dataclass(frozen=True, kw_only=True)
class AppError:
    """The app could not carry out the request: bad arguments, or an unreadable file."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Crashed:
    """The app's process, or Android itself, crashed or was killed."""

    message: str


@dataclass(frozen=True, kw_only=True)
class NotStarted:
    """Android did not start the app."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Garbled:
    """The output is truncated, too long or invalid."""

    why: str


Event = StageEntered | Chunk | WindowMissing
RunEnd = Reported | AppError | Crashed | NotStarted | Garbled


class InstrumentationParser:
    """Parses the output of one `am instrument -w -r` as it arrives; never raises for invalid output."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._unread = ""
        self._left_chars = MAX_STREAM_CHARS
        self._bundles: dict[str, dict[str, list[str]]] = {"STATUS": {}, "RESULT": {}}
        self._bundle_chars = 0
        self._open: list[str] | None = None
        self._loose = ""
        self._failure: str | None = None
        self._aborted = False
        self._code: str | None = None
        self._status = 0
        #: Why the output is invalid; None: it is valid so far.
        self.garbled: str | None = None
        self._stages: list[Stage] = []

    @property
    def ended(self) -> bool:
        """Whether further output is ignored: `am` has printed its result, or the output is invalid."""
        return self._code is not None or self.garbled is not None

    def feed(self, chunk: str | bytes) -> list[Event]:
        """Parse the next part of the output and return its events; UTF-8 may be split anywhere."""
        if self.ended:
            return []
        text = self._decoder.decode(chunk) if isinstance(chunk, bytes) else chunk
        self._left_chars -= len(text)
        *lines, self._unread = (self._unread + text).split("\n")
        events: list[Event] = []
        for line in lines:
            self._read(line.removesuffix("\r"), events)
        if len(self._unread) > MAX_LINE_CHARS:
            self._mark_garbled(f"a line is longer than {MAX_LINE_CHARS} characters")
        if self._left_chars < 0:
            self._mark_garbled(f"the output is longer than {MAX_STREAM_CHARS} characters")
        return events

    def finish(self, *, stderr: str = "", status: int = 0) -> tuple[list[Event], RunEnd]:
        """Return the events of a last line without a line end, and how the run ended.

        Args:
            stderr: of `am`, which prints its own errors there.
            status: its exit status.
        """
        events: list[Event] = []
        if not self.ended and self._unread:
            self._read(self._unread.removesuffix("\r"), events)
        if not self.ended:
            self._status = status
            for line in stderr[-MAX_LOOSE_CHARS:].splitlines():
                self._read_other_line(line)
        return events, self._end()

    def _read(self, line: str, events: list[Event]) -> None:
        if self.ended:
            return
        if len(line) > MAX_LINE_CHARS:
            self._mark_garbled(f"a line is longer than {MAX_LINE_CHARS} characters")
        elif match := _VALUE.fullmatch(line):
            self._begin(match["bundle"], match["key"], match["value"])
        elif match := _CODE.match(line):
            self._close(match["status"] is not None, match["code"], events)
        elif self._open is not None and not line.startswith("INSTRUMENTATION_"):
            self._append(self._open, line)
        else:
            self._read_other_line(line)

    def _read_other_line(self, line: str) -> None:
        if match := _FAILED.match(line):
            self._aborted |= match["aborted"] is not None
            self._failure = self._failure or line
        self._loose = (self._loose + line[:MAX_LOOSE_CHARS] + "\n")[:MAX_LOOSE_CHARS]

    def _begin(self, bundle: str, key: str, value: str) -> None:
        values = self._bundles[bundle]
        if key in values:
            self._mark_garbled(f"{key} came twice in one {bundle.lower()}")
            return
        self._open = values[key] = []
        self._append(self._open, value)

    def _append(self, lines: list[str], line: str) -> None:
        self._bundle_chars += len(line) + 1
        if self._bundle_chars > MAX_BUNDLE_CHARS:
            self._mark_garbled(f"one bundle has more than {MAX_BUNDLE_CHARS} characters")
        else:
            lines.append(line)

    def _close(self, is_status: bool, code: str, events: list[Event]) -> None:
        self._open, self._bundle_chars = None, 0
        if not is_status:
            self._code = code
            return
        values = {key: lines[0] for key, lines in self._bundles["STATUS"].items()}
        self._bundles["STATUS"] = {}
        try:
            if code == _STAGE_CODE:
                events.append(self._stage_entered(values))
            elif code == _CHUNK_CODE:
                events.append(_chunk(values))
            elif code == _HIDDEN_CODE:
                events.append(WindowMissing())
            elif "Error" in values:
                self._failure = values["Error"]
        except ValueError as error:
            self._mark_garbled(str(error))

    def _stage_entered(self, values: dict[str, str]) -> StageEntered:
        stage = next((stage for stage in STAGES if stage.value == values.get("stage")), None)
        if stage is None:
            raise ValueError(f"stage {values.get('stage', '')[:100]!r} is none of {', '.join(STAGES)}")
        # A repeated stage would restart its deadline.
        if self._stages and STAGES.index(stage) <= STAGES.index(self._stages[-1]):
            raise ValueError(f"stage {stage} came after {self._stages[-1]}")
        self._stages.append(stage)
        first_ns = _whole(values, "first_inference_ns") if "first_inference_ns" in values else None
        return StageEntered(stage=stage, pid=_whole(values, "pid"), first_inference_ns=first_ns)

    def _end(self) -> RunEnd:
        results = {key: "\n".join(lines) for key, lines in self._bundles["RESULT"].items()}
        if self.garbled is not None:
            return Garbled(why=self.garbled)
        if self._code is None:
            return self._without_code()
        if self._code == _RESULT_OK and "report" in results:
            # One line: the rest was printed by other programs.
            return _report(results["report"].partition("\n")[0])
        if self._code == _RESULT_CANCELED and "error" in results:
            return AppError(text=results["error"][:MAX_MESSAGE_CHARS])
        if self._code == _RESULT_CANCELED and results.keys() & {"shortMsg", "longMsg"}:
            return Crashed(message=_message(results.get("shortMsg"), results.get("longMsg")))
        names = ", ".join(sorted(results)[:10]) or "nothing"
        return Garbled(why=f"ended with code {self._code} and {names}"[:MAX_MESSAGE_CHARS])

    def _without_code(self) -> RunEnd:
        if self._failure is None:
            printed = f" after {self._loose.strip()[-200:]!r}" if self._loose.strip() else ""
            return Garbled(why=f"the output ends without INSTRUMENTATION_CODE{self._exit()}{printed}")
        if self._aborted or self._stages:
            return Crashed(message=_message(self._failure, self._loose))
        return NotStarted(message=_message(self._failure, self._loose) + self._exit())

    def _exit(self) -> str:
        return f" (am exited with {self._status})" if self._status else ""

    def _mark_garbled(self, why: str) -> None:
        self.garbled = self.garbled or why
        self._unread = ""


def _report(text: str) -> RunEnd:
    if len(text.encode(errors="replace")) > MAX_LINE_CHARS:
        return Garbled(why=f"the report is larger than {MAX_LINE_CHARS} bytes")
    try:
        return Reported(report=RunReport.model_validate_json(text))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "JSON"
        return Garbled(why=f"the report does not fit: {field}: {first['msg']}"[:MAX_MESSAGE_CHARS])
    except ValueError as error:
        return Garbled(why=f"the report cannot be read: {error}"[:MAX_MESSAGE_CHARS])


def _chunk(values: dict[str, str]) -> Chunk:
    file, data = values.get("file", ""), values.get("data", "")
    # Four characters for three bytes.
    if len(data) > MAX_CHUNK_BYTES * 4 // 3 + 4:
        raise ValueError(f"a chunk of {file[:100]!r} is larger than {MAX_CHUNK_BYTES} bytes")
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"a chunk of {file[:100]!r} is not base64: {error}") from error
    return Chunk(file=file, index=_whole(values, "piece"), count=_whole(values, "pieces"), data=raw)


def _whole(values: dict[str, str], key: str) -> int:
    text = values.get(key, "")
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{key} {text[:100]!r} is not a whole number")
    return int(text)


def _message(*parts: str | None) -> str:
    lines = (line.strip() for part in parts if part for line in part.splitlines())
    # Without duplicates and without the stack trace of `am` itself.
    distinct = dict.fromkeys(line for line in lines if line and not line.startswith("at "))
    return "; ".join(distinct)[:MAX_MESSAGE_CHARS]
