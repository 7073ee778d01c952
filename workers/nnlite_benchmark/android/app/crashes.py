"""Summarizes the app's crash from a device's crash log and attributes it to a backend, or to none.

A crash in a delegate's library is a refusal of the artifact; any other crash is
a fault of the device. Only the stack of the app's own process counts: the crash
log has those of all processes. The format of a native crash:
https://source.android.com/docs/core/tests/debug/native-crash
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from nnlite.vocabulary import Backend

PACKAGE: Final = "org.nnlite.benchmark"
#: How much of a log is read, characters from its end.
MAX_LOG_CHARS: Final = 1024 * 1024
#: Longest line that is read; logd's entries are shorter.
MAX_LINE_CHARS: Final = 4096
MAX_SUMMARY_CHARS: Final = 500
#: Number of libraries in a summary.
TOP_LIBRARIES: Final = 5

_BEGIN: Final = re.compile(r"(?:\*\*\* ){8,}|FATAL EXCEPTION|Fatal signal \d+|pid: \d+, tid: \d+.* >>> ")
#: In a tombstone: the process's other threads, up to the next crash.
_OTHER_THREADS: Final = re.compile(r"(?:--- ){8,}.*?(?=(?:\*\*\* ){8,}|\Z)", re.DOTALL)
_PROCESS: Final = re.compile(
    r">>> (?P<native>.{1,300}?) <<<|Process: (?P<java>[\w.:]{1,300}), PID: (?P<java_pid>\d{1,9})"
)
_PID: Final = re.compile(r"\bpid: (\d{1,9}), tid: \d+(?:, name: (.{0,100}?))?\s+>>>")
_SIGNAL: Final = re.compile(
    r"\bsignal (?P<number>\d+) \((?P<name>\w+)\), code -?\d+ \((?P<code>[^)\r\n]{1,60})\)"
    r"(?:, fault addr (?P<address>0x[0-9a-f]+))?"
)
_ABORT: Final = re.compile(r"Abort message: ['\"]?(?P<message>.{1,300}?)['\"]?\s*$", re.MULTILINE)
_CAUSE: Final = re.compile(r"\bCause: (?P<cause>.{1,200}?)\s*$", re.MULTILINE)
_FRAME: Final = re.compile(r"#\d{2,3} +pc +(?:0x)?[0-9a-f]+ +(?P<file>\S+)")
_JAVA: Final = re.compile(
    r"\b((?:[a-z]\w{0,100}\.){1,20}\w{0,100}(?:Exception|Error)\b.{0,200}?)\s*$", re.MULTILINE
)
_JAVA_FRAME: Final = re.compile(r"\bat ((?:\w+\.)+[\w$<>]+)\(")

#: The first frame in one of these libraries decides.
_BLAMES: Final = (
    (
        Backend.GPU,
        re.compile(
            r"libtensorflowlite_gpu\w*|lib\w*opencl\w*|lib(?:GLES|EGL)\w*|lib\w*mali\w*|libPVR\w*|libIMG\w*|"
            r"libllvm-(?:qcom|glnext|qgl)|libCB|libgsl|libvulkan|vulkan\.\w+|libLiteRt\w*(?:Gpu|Cl|OpenCl)\w*",
            re.IGNORECASE,
        ),
    ),
    (
        Backend.NPU,
        re.compile(
            r"libneuralnetworks\w*|android\.hardware\.neuralnetworks.*|libnnapi\w*|libhexagon\w*|libQnn\w*|"
            r"libSNPE\w*|libedgetpu\w*|libneuron\w*|libapu\w*|libenn\w*|libhiai\w*|libai_client|libarmnn\w*",
            re.IGNORECASE,
        ),
    ),
    (Backend.CPU, re.compile(r"libtensorflowlite\w*|libLiteRt\w*|libXNNPACK\w*", re.IGNORECASE)),
)
#: Threads that render the app's window: a crash in their graphics driver is no delegate's.
_DRAWS: Final = re.compile(r"RenderThread|hwuiTask\d*|GPU completion")
_JAVA_BLAMES: Final = (
    (Backend.GPU, "org.tensorflow.lite.gpu."),
    (Backend.NPU, "org.tensorflow.lite.nnapi."),
)
#: NNAPI's drivers are separate processes.
_NN_DRIVER: Final = re.compile(r"neuralnetworks", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Crash:
    """The app's last crash."""

    #: One sentence; empty: the log has no crash of the app.
    summary: str
    #: The backend whose library comes first in the stack; `cpu` is the runtime itself. None: no backend.
    blames: Backend | None


def explain(text: str, *, process: str = PACKAGE, pid: int | None = None) -> Crash:
    """Return the last crash of the app in the output of `logcat -b crash` or a tombstone.

    Args:
        pid: if known; excludes crashes of earlier runs.
    """
    crash = Crash(summary="", blames=None)
    for block in _blocks(text[-MAX_LOG_CHARS:]):
        name, number = _whose(block)
        if name == process and (pid is None or number is None or number == pid):
            crash = _of_block(block)
        elif name is not None and _NN_DRIVER.search(name):
            crash = Crash(
                summary=f"NNAPI's driver {name} crashed: {_of_block(block).summary}", blames=Backend.NPU
            )
    return crash


def _blocks(text: str) -> list[str]:
    """Split the text where a crash begins."""
    lines = [line[:MAX_LINE_CHARS] for line in _OTHER_THREADS.sub("", text).splitlines()]
    starts = [number for number, line in enumerate(lines) if _BEGIN.search(line)]
    return ["\n".join(lines[start:end]) for start, end in pairwise([*starts, len(lines)])]


def _whose(block: str) -> tuple[str | None, int | None]:
    match = _PROCESS.search(block)
    if match is None:
        return None, None
    if match["java"] is not None:
        return match["java"], int(match["java_pid"])
    number = _PID.search(block)
    return match["native"], int(number[1]) if number else None


def _of_block(block: str) -> Crash:
    signal = _SIGNAL.search(block)
    libraries = [_library(frame["file"]) for frame in _FRAME.finditer(block)]
    if signal is None and not libraries:
        return _java(block)
    parts = [_signal(signal)] if signal else []
    parts += [match["cause"] for match in [_CAUSE.search(block)] if match]
    parts += [f"abort message: {match['message']}" for match in [_ABORT.search(block)] if match]
    top = list(dict.fromkeys(libraries))[:TOP_LIBRARIES]
    parts += [f"in {', '.join(top)}"] if top else []
    return Crash(summary=", ".join(parts)[:MAX_SUMMARY_CHARS], blames=_blamed(libraries, _thread(block)))


def _signal(match: re.Match[str]) -> str:
    where = f" at {match['address']}" if match["address"] else ""
    return f"{match['name']} ({match['code']}){where}"


def _thread(block: str) -> str:
    match = _PID.search(block)
    return match[2] or "" if match else ""


def _library(file: str) -> str:
    """Return the name of a frame's library, which may be inside a package: `base.apk!lib/arm64/libx.so`."""
    return file.rpartition("!")[2].rpartition("/")[2] or file


def _blamed(libraries: list[str], thread: str) -> Backend | None:
    for library in libraries:
        stem = library.removesuffix(".so")
        for backend, names in _BLAMES:
            if names.fullmatch(stem) and not (backend is Backend.GPU and _DRAWS.fullmatch(thread)):
                return backend
    return None


def _java(block: str) -> Crash:
    thrown = _JAVA.search(block)
    frames = _JAVA_FRAME.findall(block)
    blames = next(
        (backend for frame in frames for backend, name in _JAVA_BLAMES if frame.startswith(name)), None
    )
    return Crash(summary=thrown[1][:MAX_SUMMARY_CHARS] if thrown else "", blames=blames)
