"""Finds what an error is about: the line of the model's code, and the operator as that line calls it.

Imports no torch: the worker's side explains errors too.
"""

import linecache
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

#: Longest source line in a reason, characters.
MAX_SOURCE = 120

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in [^\n]*(?:\n\s*(?P<source>[^\n]+))?')
#: A frame as the interpreter writes it when it crashes, the newest first.
_CRASHED_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+) in ', re.MULTILINE)
#: What such a traceback has below the model's code.
OUTERMOST = "/nnlite_conversion/pipeline/body.py"
#: Where the traceback of a thread begins.
_THREAD = re.compile(r"^(?:Current thread|Thread) 0x", re.MULTILINE)
#: Its end where there are more frames than it shows.
_MORE_FRAMES = "\n  ...\n"
_PACKAGES = re.compile(r"^.*/(?:site|dist)-packages/")
#: Code in which no author of a network looks for an error: the converter's, and Python's own.
_TOOLS = re.compile(
    r"/(?:site|dist)-packages/(?:torch|litert_torch|litert_converter|jax|jaxlib|numpy|ai_edge_\w+)/"
    r"|/nnlite(?:_conversion)?/|/lib/python3\.\d+/(?!(?:site|dist)-packages/)|^<"
)
#: Location in an error of the converter's MLIR passes: `"net.py":12:0` or `net.py:12:0`.
_MLIR_LOCATION = re.compile(r'"?(?P<file>[^"\s:()]+\.py)"?:(?P<line>\d+):\d+')
_CALL = re.compile(r"([A-Za-z_][\w.]*)\s*\(")
#: Module of tensors without values, and of the errors of operators that need them.
_WITHOUT_VALUES = "torch._subclasses.fake_tensor"
#: Modules whose classes are layers: their names are what the author of a network has written.
_LAYERS = ("torch.nn.", "torchvision.", "timm.")


@dataclass(frozen=True, kw_only=True)
class CodeLine:
    """A line of the model's code."""

    #: Name of the file; of an installed network its path below `site-packages`.
    file: str
    number: int
    #: Its text, shortened; empty: not known.
    source: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.number}" + (f": {self.source}" if self.source else "")


@dataclass(frozen=True, kw_only=True)
class Culprit:
    """The operator and the line that an error is about; what is not known is None."""

    #: As the graph calls it, such as `aten.nonzero.default`.
    operator: str | None = None
    #: As the model's code calls it, such as `torch.linalg.inv` or the layer `DeformConv2d`; None: not known.
    called: str | None = None
    line: CodeLine | None = None
    #: It chooses elements by their values, so that its result has no fixed size.
    chooses: bool = False


class UnsupportedNode(Exception):
    """A node of the graph that the converter cannot take."""

    def __init__(self, node: Any) -> None:
        super().__init__(f"operator {operator_of(node)} is not supported")
        self.node = node


class EmptyTensorNode(UnsupportedNode):
    """A node that computes something of a tensor without elements, and of others."""


class HighRankNode(UnsupportedNode):
    """A node whose tensors have more dimensions than LiteRT takes."""


def culprit_of(error: BaseException) -> Culprit:
    """Return what `error`, or one of its causes, is about."""
    chain = list(causes(error))
    for cause in chain:
        node = _node_of(cause)
        if node is not None and node.op == "call_function":
            return culprit_in_graph(node)
    line = next(filter(None, map(_raised_at, chain)), None) or next(filter(None, map(_located, chain)), None)
    for cause in chain:
        if type(cause).__module__ == _WITHOUT_VALUES and hasattr(cause, "func"):
            operator = str(cause.func)
            return Culprit(operator=operator, called=call_in(operator, line), line=line)
    return Culprit(line=line)


def culprit_in_graph(node: Any) -> Culprit:
    """Return operator and line of a node of an exported graph (`torch.fx.Node`)."""
    operator, line = operator_of(node), code_line(_stack_trace(node))
    called = _layer(node) or call_in(operator, line)
    chooses = has_no_size(node) and not follows_from_size(node)
    return Culprit(operator=operator, called=called, line=line, chooses=chooses)


def _stack_trace(node: Any) -> str:
    """Return the stack trace of a node; of one that has none, as those of higher order, of its first user."""
    traces = (each.meta.get("stack_trace") for each in (node, *node.users))
    return next(filter(None, traces), "")


def has_no_size(node: Any) -> bool:
    """Whether the size of a node's result depends on the values of the network's input."""
    value = node.meta.get("val")
    results = value if isinstance(value, tuple | list) else (value,)
    return any(not isinstance(size, int) for result in results for size in getattr(result, "shape", ()))


def follows_from_size(node: Any) -> bool:
    """Whether an earlier operator is why the size of a node's result is not fixed."""
    return any(map(has_no_size, node.all_input_nodes))


def operator_of(node: Any) -> str:
    """Return a node's operator, such as `aten.nonzero.default`, `torchvision.nms.default` or `cond`."""
    target = node.target
    if str(target) == "with_effects":  # (token, operator, arguments...)
        target = node.args[1]
    for cell in getattr(target, "__closure__", None) or ():
        # litert-torch puts a function in the place of an operator, to change the layout of its arguments.
        if hasattr(cell.cell_contents, "_schema"):
            target = cell.cell_contents
    if getattr(target, "__module__", None) in ("_operator", "math", "builtins"):
        return f"{target.__module__.lstrip('_')}.{target.__name__}"
    return str(target)


def code_line(stack_trace: str) -> CodeLine | None:
    """Return the innermost line of a stack trace that is the network's own; None: there is none."""
    frames = (
        (each["file"], int(each["line"]), each["source"] or "") for each in _FRAME.finditer(stack_trace)
    )
    return _innermost(frames)


def line_in(stack: Iterable[traceback.FrameSummary]) -> CodeLine | None:
    """Return the innermost line of a stack that is the network's own; None: there is none."""
    return _innermost((frame.filename, frame.lineno or 0, frame.line or "") for frame in stack)


def crashed_at(stacks: str, code: str | None) -> CodeLine | None:
    """Return the network's own line at which the interpreter has crashed; None: it was not running one.

    Args:
        stacks: what `faulthandler` wrote.
        code: of the model's file.
    """
    _, _, crash = stacks.rpartition("Fatal Python error: ")
    _, _, crash = crash.partition("Current thread 0x")  # behind those of others
    return _line_in_stack(crash, code)


def hung_at(stacks: str, code: str | None) -> CodeLine | None:
    """Return the network's own line that its main thread is at; None: it runs none.

    Args:
        stacks: what `faulthandler` wrote at a signal.
        code: of the model's file.
    """
    threads = sorted(_THREAD.split(stacks), key=lambda thread: OUTERMOST in thread)
    return _line_in_stack(threads[-1], code)


def _line_in_stack(stack: str, code: str | None) -> CodeLine | None:
    """Return the innermost line of the network's own of a traceback of `faulthandler`."""
    inside, outermost, _ = stack.partition(OUTERMOST if OUTERMOST in stack else _MORE_FRAMES)
    sources = (code or "").splitlines()
    frames = []
    for each in _CRASHED_FRAME.finditer(inside if outermost else ""):
        number = int(each["line"])
        is_known = number <= len(sources) and not _PACKAGES.match(each["file"])
        frames.append((each["file"], number, sources[number - 1] if is_known else ""))
    return _innermost(reversed(frames))


def is_of_tools(file: str) -> bool:
    """Whether a file's code is the converter's or Python's own, and no network's."""
    return bool(_TOOLS.search(file))


def line_of_return(run: Callable[[], object]) -> CodeLine | None:
    """Run a network that is refused for what it returns; return the line of its `return`; None: not known."""
    last: tuple[str, int, str] | None = None

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal last
        file, number = frame.f_code.co_filename, frame.f_lineno
        # The caller's own functions return last, and those of libraries are no network's.
        if event == "return" and not is_of_tools(file):
            last = file, number, linecache.getline(file, number)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        with suppress(Exception):  # it fails as before
            run()
    finally:
        sys.setprofile(before)
    return None if last is None else _innermost([last])


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and its chain of causes, newest first."""
    visited: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in visited:
        visited.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _innermost(frames: Iterable[tuple[str, int, str]]) -> CodeLine | None:
    """Return the innermost frame of a user's file, or else of an installed network's."""
    candidates = [frame for frame in frames if not _TOOLS.search(frame[0])]
    if not candidates:
        return None
    own = [frame for frame in candidates if not _PACKAGES.match(frame[0])]
    file, number, source = (own or candidates)[-1]
    name = file.rpartition("/")[2] if own else _PACKAGES.sub("", file)
    return CodeLine(file=name, number=number, source=_shortened(source))


def _shortened(source: str) -> str:
    text = " ".join(source.split())
    return text if len(text) <= MAX_SOURCE else f"{text[: MAX_SOURCE - 3]}..."


def _raised_at(error: BaseException) -> CodeLine | None:
    if isinstance(known := getattr(error, "code_line", None), CodeLine):
        return known
    if isinstance(error, SyntaxError) and error.filename:
        return _innermost([(error.filename, error.lineno or 0, error.text or "")])
    return line_in(traceback.extract_tb(error.__traceback__))


def _located(error: BaseException) -> CodeLine | None:
    found = _MLIR_LOCATION.findall(str(error))
    return _innermost(
        (file, int(number), linecache.getline(file, int(number))) for file, number in reversed(found)
    )


def _node_of(error: BaseException) -> Any:
    """Return the node that an interpreter of a graph executed when it raised `error`."""
    node = getattr(error, "node", None)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        executed = frame.f_locals.get("node") if frame.f_code.co_name in ("run", "run_node") else None
        node = node if executed is None else executed
    return node if type(node).__module__ == "torch.fx.node" else None


def _layer(node: Any) -> str | None:
    """Return the class of the layer that a node belongs to, if a library defines it."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return None
    kind = next(reversed(stack.values()))[1]
    name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    containers = name.rpartition(".")[2] in ("Sequential", "ModuleList", "ModuleDict")
    return name.rpartition(".")[2] if name.startswith(_LAYERS) and not containers else None


def call_in(operator: str, line: CodeLine | None) -> str | None:
    """Return the call in `line` whose name is the operator's, or has a part of it."""
    namespace, _, rest = operator.partition(".")
    base = (rest.partition(".")[0] or namespace).strip("_")
    parts = set(base.split("_"))
    best, best_score = None, 0
    for name in _CALL.findall(line.source if line else ""):
        words = [word.strip("_") for word in name.split(".")]
        is_whole = words[-1] == base or base.endswith(f"_{words[-1]}")
        score = 3 * is_whole or 2 * (words[-1] in parts) or 1 * bool(parts & set(words))
        if score > best_score:
            best, best_score = name, score
    return best
