"""Problems of operators that the converter or the runtime cannot take, and remedies by kind of operator."""

import re
from dataclasses import dataclass

from nnlite.errors import Failure
from nnlite.vocabulary import Stage
from nnlite_conversion.culprit import Culprit


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a model cannot be converted."""

    #: Without file, line and addresses, so that equal causes of different models group.
    cause: str
    #: What its author can do; empty: nothing is known.
    remedy: str = ""


@dataclass(frozen=True)
class _Kind:
    #: Of bare operators: without namespace, overload and leading underscores.
    operators: re.Pattern[str]
    #: With a place for the operator.
    cause: str
    remedy: str


_CANNOT = "operator {operator} cannot be lowered to LiteRT"
_AFTER = "end the network before it and compute it from the network's outputs"

_RANDOM = _Kind(
    re.compile(
        r"(native_|alpha_|feature_|feature_alpha_)?dropout_?|rrelu\w*|bernoulli\w*|multinomial|poisson"
        r"|(log_)?normal(_functional)?_?|(uniform|exponential|geometric|cauchy|random)_?"
        r"|rand(n|int|perm)?(_like)?|rngprim\w*|philox\w*|binomial|standard_gamma"
    ),
    "the forward pass is random: operator {operator} draws numbers, and an artifact has no generator",
    "draw them only if self.training, or take them as an input",
)
_CHOOSING = _Kind(
    re.compile(r"nonzero\w*|masked_select|unique\w*|argwhere|repeat_interleave|bincount|combinations"),
    "the size of operator {operator}'s result depends on the input's values, and an artifact's sizes are "
    "fixed",
    "use a mask, torch.where, or torch.topk with a fixed number",
)
_KINDS = (
    _RANDOM,
    _Kind(
        re.compile(r"local_scalar_dense|item|equal|allclose|is_nonzero|sym_constrain_range\w*|assert_\w*"),
        "a number of the code depends on the input's values (operator {operator}), and an artifact's sizes "
        "and branches are fixed",
        "make no Python number of a tensor (int(), .item(), an index, the bound of a slice or of a loop): "
        "use a mask or torch.where",
    ),
    _CHOOSING,
    _Kind(
        re.compile(r"cond|while_loop|map_impl|map|scan|associative_scan"),
        "operator torch.{operator} is control flow, which cannot be lowered to LiteRT",
        "compute both branches and choose by torch.where, or loop in Python with a fixed number of steps",
    ),
    _Kind(
        re.compile(
            r"linalg\w*|cholesky\w*|svd|qr|lu_\w*|inverse|det|logdet|slogdet|triangular_solve|pinverse|eig\w*"
        ),
        _CANNOT,
        f"{_AFTER}; what depends on no input belongs into a buffer that the constructor fills",
    ),
    _Kind(
        re.compile(r"fft\w*|stft|istft|complex|polar|view_as_(complex|real)\w*|angle|real|imag|conj\w*"),
        _CANNOT,
        "use real arithmetic: a Fourier transform is a product with constant matrices of cosines and sines",
    ),
    _Kind(
        re.compile(
            r"sort|argsort|msort|STABLEHLO_SORT|topk|median|nanmedian|kthvalue|mode|unique_consecutive"
        ),
        _CANNOT,
        f"LiteRT has no sorting: {_AFTER}",
    ),
    _Kind(
        re.compile(r"ctc_loss\w*|cudnn_ctc_loss\w*"),
        _CANNOT,
        "return the scores from forward, and compute the loss outside the network",
    ),
    _Kind(
        re.compile(r"nested\w*"),
        _CANNOT,
        "LiteRT has no nested tensors: pad all to one size, and use a mask",
    ),
    _Kind(
        re.compile(r"roi_align"),
        _CANNOT,
        f"pass a fixed number of samples, sampling_ratio=2, for a fixed number of regions, or {_AFTER}",
    ),
    _Kind(re.compile(r"nms|\w*roi_\w+"), _CANNOT, _AFTER),
)
_OTHER = _Kind(re.compile(r".*"), _CANNOT, f"write it with other operators, or {_AFTER}")


def unsupported(culprit: Culprit) -> Explanation:
    """Explain an operator that cannot be lowered; `culprit` has its name."""
    operator = str(culprit.operator)
    kind = _CHOOSING if culprit.chooses else _kind(operator)
    remedy = kind.remedy
    if kind is _CHOOSING and operator.startswith("aten.index."):
        remedy = "do not index by a mask: multiply by it, or use torch.where or torch.topk"
    if kind is _RANDOM and "dropout" in f"{culprit.called} {culprit.line}".lower():
        remedy = "pass training=self.training"
    return Explanation(cause=kind.cause.format(operator=operator), remedy=remedy)


def is_random(operator: str) -> bool:
    """Whether an operator, such as `aten.rand_like.default`, draws random numbers."""
    return _kind(operator) is _RANDOM


def in_bfloat16(operator: str) -> Explanation:
    """Explain an operator that computes in bfloat16, for which LiteRT has no kernels."""
    return Explanation(
        cause=f"operator {operator} computes in bfloat16, and artifacts in 32 bits: outputs differ",
        remedy="build the network in float32, or call .float() on it",
    )


def of_many_dimensions(operator: str) -> Explanation:
    """Explain an operator on tensors of more dimensions than LiteRT takes."""
    return Explanation(
        cause=f"operator {operator} computes a tensor of more dimensions than LiteRT takes",
        remedy="reshape the tensor to at most five dimensions for it, and back",
    )


def refused_by_runtime(operator: str | None, message: str) -> Explanation:
    """Explain why LiteRT refuses an artifact; `operator` is the artifact's, such as `STABLEHLO_SORT`."""
    if operator is None:
        return Explanation(cause=f"LiteRT on the host refuses the artifact: {message}")
    remedy = _kind(operator).remedy
    return Explanation(
        cause=f"LiteRT on the host refuses the artifact's operator {operator}: {message}",
        remedy=remedy,
    )


def _kind(operator: str) -> _Kind:
    namespace, _, rest = operator.partition(".")
    bare = (rest.partition(".")[0] or namespace).lstrip("_")
    return next((kind for kind in _KINDS if kind.operators.fullmatch(bare)), _OTHER)


@dataclass(frozen=True, kw_only=True)
class OperatorProblem:
    """What keeps one operator, or the whole network, from a right artifact."""

    #: As the graph calls it, such as `aten.nonzero.default`; None: the problem is not one operator's.
    operator: str | None
    #: As the model's code calls it; None: not known.
    called: str | None
    #: File, line and source line of the model's code; None: not known.
    line: str | None
    #: The stage of a conversion that would fail or be wrong.
    stage: Stage
    cause: str
    remedy: str = ""
    #: How often it occurs on this line.
    count: int = 1


def problem(culprit: Culprit, explanation: Explanation, stage: Stage) -> OperatorProblem:
    """Return the problem of an operator."""
    return OperatorProblem(
        operator=culprit.operator,
        called=culprit.called,
        line=None if culprit.line is None else str(culprit.line),
        stage=stage,
        cause=explanation.cause,
        remedy=explanation.remedy,
    )


def as_problem(failure: Failure) -> OperatorProblem:
    """Return the problem that a model's failure is."""
    details = failure.details
    return OperatorProblem(
        operator=details.get("operator"),
        called=None,
        line=details.get("line"),
        stage=failure.stage,
        cause=details.get("cause", failure.reason),
        remedy=details.get("remedy", ""),
    )
