"""Explains errors of models and of the converter: turns an exception into a reason with a hint what to do."""

import errno
import re
import socket
import tempfile
import traceback
import urllib.error
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnlite.artifacts import executorch
from nnlite.artifacts.refusal import refused_operator
from nnlite.backends import RUNTIME_OF_FORMAT
from nnlite.catalog.model import ModelSpec
from nnlite.errors import Failure, FailureClass
from nnlite.settings import PREFIX
from nnlite.vocabulary import ArtifactFormat, ModelFormat, Stage
from nnlite_conversion.culprit import Culprit, HighRankNode, causes, culprit_of
from nnlite_conversion.remedies import Explanation, of_many_dimensions, refused_by_runtime, unsupported

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Longest part of an exception's message in a reason, characters.
MAX_SUMMARY = 300

#: Longest tail of a traceback that is kept, characters.
MAX_TRACEBACK = 14000

_ATEN_OPERATOR = re.compile(r"\baten(?:\.|::)_*[a-z]\w*(?:\.\w+)?")
_MLIR_OPERATOR = re.compile(r"'((?:tfl|stablehlo|chlo|mhlo|vhlo)\.\w+)'")
_DOWNLOAD_TEXT = re.compile(
    r"huggingface\.co|HF_HUB_OFFLINE|offline mode|Temporary failure in name resolution", re.I
)
_NETWORK_MODULES = ("huggingface_hub", "requests", "urllib3", "httpx")
#: Errors of jax where a size or a branch depends on an input's values.
_TRACER_ERRORS = frozenset(
    {"ConcretizationTypeError", "TracerBoolConversionError", "TracerIntegerConversionError"}
)
_RELATIVE = "relative import"
_NO_GPU = re.compile(r"NVIDIA driver|not compiled with CUDA|No CUDA GPUs|CUDA is not available|CUDA driver")
#: Of one number, which Python refuses.
_SMALLEST_OF_ONE = re.compile(r"\b(?:min|max)\(-?[\d.]+\)")
#: A tensor that the converter refuses for its dimensions.
_MANY_DIMENSIONS = re.compile(
    r"is at most \d+-D|failed to legalize operation[^\n]*: \([^)]*tensor<(?:\d+x){6,}", re.DOTALL
)
#: Addresses, and the colours of a terminal.
_NOT_TEXT = re.compile(r"(?: at)? 0x[0-9a-f]{6,}|\x1b\[[0-9;]*m")


def explained(
    stage: Stage,
    error: BaseException,
    reason: str | Explanation,
    failure_class: FailureClass = FailureClass.MODEL,
) -> Exception:
    """Return the failure for `error`; an error of the machine is returned unchanged.

    Args:
        stage: in which it was raised.
        error: its line, and the operator that it is about, are added.
        reason: a text is followed by the error's own; an explanation replaces that.
        failure_class: whose fault it is.
    """
    if isinstance(error, MemoryError) or is_full_disk(error):
        return error  # type: ignore[return-value]
    culprit = culprit_of(error)
    if isinstance(reason, str):
        reason = Explanation(cause=f"{reason}: {summary(error)}")
    kept = details(error) | {"cause": reason.cause, "remedy": reason.remedy}
    if culprit.line is not None:
        kept["line"] = str(culprit.line)
    return Failure(failure_class, stage, sentence(reason, culprit), kept)


def sentence(explanation: Explanation, culprit: Culprit) -> str:
    """Return cause, call, file, line, source line and remedy as one sentence."""
    called = f", called as {culprit.called}" if culprit.called else ""
    where = f", at {culprit.line}" if culprit.line is not None else ""
    remedy = f"; {explanation.remedy}" if explanation.remedy else ""
    return f"{explanation.cause}{called}{where}{remedy}"


def refused(reason: str) -> Failure:
    """Return the failure of a model that cannot be loaded."""
    return Failure(FailureClass.MODEL, Stage.LOAD, reason)


def of_import(error: BaseException) -> str | Explanation:
    """Return the reason why a model's code cannot be imported."""
    if known := environment(error):
        return known
    if isinstance(error, SyntaxError):
        return "its code is not valid Python"
    if isinstance(error, SystemExit):
        return "its code exits the process while it is imported"
    return "its code cannot be imported"


def of_construction(error: BaseException, spec: ModelSpec, shape: tuple[int, ...]) -> str | Explanation:
    """Return the reason why a network cannot be constructed."""
    if known := environment(error):
        return known
    names = ", ".join(sorted(map(str, spec.hyperparameters))) or "none"
    if isinstance(error, KeyError) and error.args and error.args[0] not in spec.hyperparameters:
        return f"its constructor needs the hyperparameter {error.args[0]!r}; the model has: {names}"
    line = culprit_of(error).line
    if isinstance(error, TypeError) and line and (call := _SMALLEST_OF_ONE.search(str(line))):
        return Explanation(
            cause=f"its constructor fails whatever it is given: {call[0]} is of one number, {summary(error)}",
            remedy="correct that line of its code",
        )
    if spec.model_format is ModelFormat.PYTHON:
        return f"{spec.entry_point} cannot be called with the arguments {spec.hyperparameters}"
    return (
        f"Net cannot be built for input {tuple(shape)} and {spec.classes} classes "
        f"with hyperparameters {spec.hyperparameters}"
    )


def of_forward(error: BaseException, samples: "Sequence[NDArray[Any]]") -> str | Explanation:
    """Return the reason why forward(...) fails, with its inputs."""
    if known := environment(error):
        return known
    shapes = " and ".join(f"of shape {sample.shape}" for sample in samples)
    return f"forward fails on {'an input' if len(samples) == 1 else 'inputs'} {shapes} (images: N, H, W, C)"


def of_lowering(error: BaseException) -> str | Explanation:
    """Return the reason why litert-torch fails."""
    culprit = culprit_of(error)
    if isinstance(error, HighRankNode):
        return of_many_dimensions(str(culprit.operator))
    if culprit.operator is not None:
        return unsupported(culprit)
    if any(type(cause).__name__ in _TRACER_ERRORS for cause in causes(error)):
        return Explanation(cause="a size depends on the input's values, and an artifact's sizes are fixed")
    operator = unsupported_operator(error)
    if operator and _MANY_DIMENSIONS.search(str(error)):
        return of_many_dimensions(operator)
    if operator and culprit.line is not None:
        return Explanation(
            cause=f"operator {operator} cannot be lowered to LiteRT with the types and shapes that it has",
            remedy="write that line with other operators, or compute it in float32 or int32",
        )
    return (
        f"operator {operator} cannot be lowered to LiteRT" if operator else "it cannot be lowered to LiteRT"
    )


def of_runtime(error: BaseException, artifact_format: ArtifactFormat = ArtifactFormat.TFLITE) -> Explanation:
    """Return the reason why this machine's runtime of a format refuses an artifact."""
    if (runtime := RUNTIME_OF_FORMAT.get(artifact_format)) is not None:
        said = summary(error)
        said = executorch.in_words(said) if artifact_format is ArtifactFormat.PTE else said
        return Explanation(cause=f"{runtime.name} on the host refuses the artifact: {said}")
    return refused_by_runtime(refused_operator(str(error))[0], summary(error))


def unsupported_operator(error: BaseException) -> str | None:
    """Return the operator that an error is about or names, such as `aten.adaptive_max_pool2d.default`."""
    if operator := culprit_of(error).operator or refused_operator(str(error))[0]:
        return operator
    for cause in causes(error):
        # The message names it first; a dump of the graph may follow, which names all others.
        head = str(cause).partition("\n\nWhile executing")[0]
        for pattern in (_ATEN_OPERATOR, _MLIR_OPERATOR):
            if match := pattern.search(head):
                return (match.group(1) if pattern.groups else match.group(0)).replace("::", ".")
    return None


def wants_download(error: BaseException) -> bool:
    """Whether an error comes from an attempt to reach the network."""
    return any(
        isinstance(cause, urllib.error.URLError | socket.gaierror | ConnectionError)
        or type(cause).__module__.split(".")[0] in _NETWORK_MODULES
        or bool(_DOWNLOAD_TEXT.search(str(cause)))
        for cause in causes(error)
    )


def is_full_disk(error: BaseException) -> bool:
    """Whether an error means that the disk is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def summary(error: BaseException) -> str:
    """Return type and first line of an error, shortened."""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    lines = [line.strip() for line in public(message).splitlines() if line.strip()]
    first = lines[0] if lines else "no message"
    text = f"{type(error).__name__}: {first}"
    return text if len(text) <= MAX_SUMMARY else f"{text[: MAX_SUMMARY - 3]}..."


def public(text: str) -> str:
    """Return `text` without colours, and what differs in every attempt: addresses, folders of the sandbox."""
    for folder in {str(Path.cwd()), tempfile.gettempdir(), "/tmp"} - {"/"}:  # noqa: S108  (removed, not used)
        text = re.sub(rf"{re.escape(folder)}(?:/[\w.-]+)*/(?=[\w.-])", "", text)
    return _NOT_TEXT.sub("", text)


def details(error: BaseException) -> dict[str, str]:
    """Return the details to store: type, tail of the traceback, and the operator if the error names one."""
    kept = {
        "error_type": f"{type(error).__module__}.{type(error).__qualname__}",
        "traceback": public("".join(traceback.format_exception(error))[-MAX_TRACEBACK:]),
    }
    if operator := unsupported_operator(error):
        kept["operator"] = operator
    return kept


def environment(error: BaseException) -> str | Explanation | None:
    """Return what the model's code misses: a module, a GPU, or the network; None: nothing of these."""
    for each in (error, error.__cause__):
        if isinstance(each, ModuleNotFoundError):
            used = f"; it uses {each.symbol}" if hasattr(each, "symbol") else ""
            return Explanation(
                cause=f"its code needs the module {each.name!r}, which conversion workers do not have{used}",
                remedy="install it in nnlite's environment or exclude the model; of a file of yours, copy "
                "what is used into the model's file, which is all that they have",
            )
        if isinstance(each, ImportError) and _RELATIVE in str(each):
            return Explanation(
                cause="its code imports from its own folder, and conversions have the model's file alone",
                remedy="copy what it uses into that file, or install it in nnlite's environment as a package",
            )
    if _NO_GPU.search(str(error)):
        return Explanation(
            cause="its code moves something to a GPU, and conversions run on the CPU",
            remedy="leave out .cuda() and .to('cuda'), or take the device of the input: .to(x.device)",
        )
    if not wants_download(error):
        return None
    return (
        "it tries to download something, and conversions run without network; "
        f"choose a configuration without pretrained weights, or set {PREFIX}CONVERSION__NETWORK=true"
    )
