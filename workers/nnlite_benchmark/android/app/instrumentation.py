"""What the host reads from `am instrument -w -r` while the app does one run.

Values in, values out: a parser that is fed as text arrives. The text comes
from a device, so every line, number and report is checked here and every size
is limited. What Android prints around the app's own words is that of AOSP's `am`:
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
from nnlite_benchmark.android.app.chunks import MAX_PIECES_BYTES, Piece

#: The stages that the app announces, in this order.
STAGES: Final = (Stage.INITIALIZE, Stage.WARM_UP, Stage.RUN)

#: Longest line and longest report, characters.
MAX_LINE_CHARS: Final = 1024 * 1024
#: All values of one bundle together.
MAX_BUNDLE_CHARS: Final = 2 * MAX_LINE_CHARS
#: The whole stream: all pieces in base64, with the lines around them.
MAX_STREAM_CHARS: Final = MAX_PIECES_BYTES * 3 // 2 + 2 * MAX_BUNDLE_CHARS
#: Bytes of one piece; the app sends 48 kB.
MAX_PIECE_BYTES: Final = 64 * 1024
#: What is kept of lines that are nobody's, for the message of a run that did not start.
MAX_LOOSE_CHARS: Final = 4000
MAX_MESSAGE_CHARS: Final = 2000

_STAGE_CODE: Final = "1"
_PIECE_CODE: Final = "2"
_RESULT_OK: Final = "-1"
_RESULT_CANCELED: Final = "0"

_VALUE: Final = re.compile(r"INSTRUMENTATION_(?P<bundle>STATUS|RESULT): (?P<key>[^=]{1,100})=(?P<value>.*)")
_CODE: Final = re.compile(r"INSTRUMENTATION_(?P<status>STATUS_)?CODE: (?P<code>-?\d{1,10})")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
#: Lines with which `am` says that there will be no run.
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
    #: From warm-up on.
    first_inference_ns: int | None


@dataclass(frozen=True, kw_only=True)
class Reported:
    """The run is over and has a report; a refusal of the runtime is one too."""

    report: RunReport


@dataclass(frozen=True, kw_only=True)
class AppError:
    """The app could not do as it was told: bad arguments, a file that cannot be read."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Crashed:
    """The app's process, or the system under it, died or was ended."""

    message: str


@dataclass(frozen=True, kw_only=True)
class NotStarted:
    """Android did not start the app."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Garbled:
    """What came back is cut off, too long or makes no sense."""

    why: str


Event = StageEntered | Piece
AttemptEnd = Reported | AppError | Crashed | NotStarted | Garbled


class InstrumentationParser:
    """Reads the output of one `am instrument -w -r` as it arrives; never raises for what a device says."""

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
        self._garbled: str | None = None
        self._stages: list[Stage] = []

    @property
    def ended(self) -> bool:
        """Whether nothing more is read: `am` said its last word, or made no sense while the app may go on."""
        return self._code is not None or self._garbled is not None

    @property
    def garbled(self) -> str | None:
        """Why the output makes no sense; None: it does, so far."""
        return self._garbled

    def feed(self, chunk: str | bytes) -> list[Event]:
        """Read the next part of the output and return what happened in it; UTF-8 may be cut anywhere."""
        if self.ended:
            return []
        text = self._decoder.decode(chunk) if isinstance(chunk, bytes) else chunk
        self._left_chars -= len(text)
        *lines, self._unread = (self._unread + text).split("\n")
        events: list[Event] = []
        for line in lines:
            self._read(line.removesuffix("\r"), events)
        if len(self._unread) > MAX_LINE_CHARS:
            self._give_up(f"a line is longer than {MAX_LINE_CHARS} characters")
        if self._left_chars < 0:
            self._give_up(f"the output is longer than {MAX_STREAM_CHARS} characters")
        return events

    def finish(self) -> tuple[list[Event], AttemptEnd]:
        """Return what the last line says if it has no line end, and how the run ended."""
        events: list[Event] = []
        if not self.ended and self._unread:
            self._read(self._unread.removesuffix("\r"), events)
        return events, self._ending()

    def _read(self, line: str, events: list[Event]) -> None:
        if self.ended:
            return
        if len(line) > MAX_LINE_CHARS:
            self._give_up(f"a line is longer than {MAX_LINE_CHARS} characters")
        elif match := _VALUE.fullmatch(line):
            self._begin(match["bundle"], match["key"], match["value"])
        elif match := _CODE.match(line):
            self._close(match["status"] is not None, match["code"], events)
        elif self._open is not None and not line.startswith("INSTRUMENTATION_"):
            self._append(self._open, line)
        else:
            self._read_words_of_am(line)

    def _read_words_of_am(self, line: str) -> None:
        if match := _FAILED.match(line):
            self._aborted |= match["aborted"] is not None
            self._failure = self._failure or line
        self._loose = (self._loose + line[:MAX_LOOSE_CHARS] + "\n")[:MAX_LOOSE_CHARS]

    def _begin(self, bundle: str, key: str, value: str) -> None:
        values = self._bundles[bundle]
        if key in values:
            self._give_up(f"{key} came twice in one {bundle.lower()}")
            return
        self._open = values[key] = []
        self._append(self._open, value)

    def _append(self, lines: list[str], line: str) -> None:
        self._bundle_chars += len(line) + 1
        if self._bundle_chars > MAX_BUNDLE_CHARS:
            self._give_up(f"one bundle has more than {MAX_BUNDLE_CHARS} characters")
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
            elif code == _PIECE_CODE:
                events.append(_piece(values))
            elif "Error" in values:
                self._failure = values["Error"]
        except ValueError as error:
            self._give_up(str(error))

    def _stage_entered(self, values: dict[str, str]) -> StageEntered:
        stage = next((stage for stage in STAGES if stage.value == values.get("stage")), None)
        if stage is None:
            raise ValueError(f"stage {values.get('stage', '')[:100]!r} is none of {', '.join(STAGES)}")
        # A stage that comes again would start its deadline anew.
        if self._stages and STAGES.index(stage) <= STAGES.index(self._stages[-1]):
            raise ValueError(f"stage {stage} came after {self._stages[-1]}")
        self._stages.append(stage)
        first_ns = _whole(values, "first_inference_ns") if "first_inference_ns" in values else None
        return StageEntered(stage=stage, pid=_whole(values, "pid"), first_inference_ns=first_ns)

    def _ending(self) -> AttemptEnd:
        results = {key: "\n".join(lines) for key, lines in self._bundles["RESULT"].items()}
        if self._garbled is not None:
            return Garbled(why=self._garbled)
        if self._code is None:
            return self._without_code()
        if self._code == _RESULT_OK and "report" in results:
            # One line: what follows it is noise of other programs.
            return _report(results["report"].partition("\n")[0])
        if self._code == _RESULT_CANCELED and "error" in results:
            return AppError(text=results["error"][:MAX_MESSAGE_CHARS])
        if self._code == _RESULT_CANCELED and results.keys() & {"shortMsg", "longMsg"}:
            return Crashed(message=_message(results.get("shortMsg"), results.get("longMsg")))
        names = ", ".join(sorted(results)[:10]) or "nothing"
        return Garbled(why=f"ended with code {self._code} and {names}"[:MAX_MESSAGE_CHARS])

    def _without_code(self) -> AttemptEnd:
        if self._failure is None:
            said = f" after {self._loose.strip()[-200:]!r}" if self._loose.strip() else ""
            return Garbled(why=f"the output breaks off without INSTRUMENTATION_CODE{said}")
        if self._aborted or self._stages:
            return Crashed(message=_message(self._failure))
        return NotStarted(message=_message(self._failure, self._loose))

    def _give_up(self, why: str) -> None:
        self._garbled = self._garbled or why
        self._unread = ""


def _report(text: str) -> AttemptEnd:
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


def _piece(values: dict[str, str]) -> Piece:
    file, data = values.get("file", ""), values.get("data", "")
    # Four characters for three bytes.
    if len(data) > MAX_PIECE_BYTES * 4 // 3 + 4:
        raise ValueError(f"a piece of {file[:100]!r} is larger than {MAX_PIECE_BYTES} bytes")
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"a piece of {file[:100]!r} is not base64: {error}") from error
    return Piece(file=file, piece=_whole(values, "piece"), pieces=_whole(values, "pieces"), data=raw)


def _whole(values: dict[str, str], key: str) -> int:
    text = values.get(key, "")
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{key} {text[:100]!r} is not a whole number")
    return int(text)


def _message(*parts: str | None) -> str:
    lines = (line.strip() for part in parts if part for line in part.splitlines())
    # Once each, and without the stack of `am` itself.
    kept = dict.fromkeys(line for line in lines if line and not line.startswith("at "))
    return "; ".join(kept)[:MAX_MESSAGE_CHARS]
