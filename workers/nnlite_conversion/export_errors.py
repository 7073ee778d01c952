"""Explains why torch.export fails: what in the network it cannot trace, and what its author can do."""

import re
import traceback
from collections.abc import Sequence
from dataclasses import replace

from nnlite_conversion.culprit import Culprit, EmptyTensorNode, causes, culprit_of
from nnlite_conversion.explanations import environment
from nnlite_conversion.remedies import Explanation, unsupported

_DATA_DEPENDENT = re.compile(r"data-dependent|GuardOnDataDependent|unbacked", re.I)
#: Class of the error that says why neither side of a branch can be chosen.
_NO_CHOICE = "NoChoiceError"
#: Class of the error of code that computes derivatives.
_DERIVATIVES = "ComputesDerivatives"
#: What torch.vmap says of what it cannot do, and the operator that stands for its kind.
_IN_VMAP = {
    re.compile(r"vmap: .*(\.item\(\)|data-dependent control flow)"): "aten._local_scalar_dense.default",
    re.compile(r"vmap: .*dynamic shape"): "aten.nonzero.default",
    re.compile(r"vmap: called random operation"): "aten.rand.default",
}
#: Files of PyTorch, by which the cause of an error is known, and what it then contains.
_DISTRIBUTIONS = re.compile(r"/torch/distributions/\w+\.py$")
_RECURRENT = re.compile(r"/torch/nn/(modules|utils)/rnn\.py$")
_PACKED = "argument 'size' failed to unpack"
_TO_NUMPY = ".numpy() is not supported"


def of_export(
    error: BaseException, scripted: Sequence[str] = (), quantized: Sequence[str] = ()
) -> str | Explanation:
    """Return the reason why torch.export fails.

    Args:
        error: of torch.export.
        scripted: paths of the network's layers that are TorchScript.
        quantized: paths of those that PyTorch has quantized.
    """
    if known := environment(error) or _of_transforms(error):
        return known
    culprit = culprit_of(error)
    if isinstance(error, EmptyTensorNode):
        return Explanation(
            cause=f"operator {culprit.operator} takes a tensor without elements",
            remedy="leave out the layer without channels or the empty slice that gives it",
        )
    if is_by_value(error):
        return of_values(error, culprit)
    if culprit.operator is not None:
        return unsupported(culprit)
    return _of_layers(scripted, quantized) or _of_python(error) or "torch.export cannot trace it"


def is_by_value(error: BaseException) -> bool:
    """Whether torch.export fails because a size, a number or a branch depends on the input's values."""
    return bool(_DATA_DEPENDENT.search(f"{type(error).__name__} {error}"))


def of_values(error: BaseException, culprit: Culprit) -> Explanation:
    """Explain that the code looks at values of the input."""
    if _in_file(error, _DISTRIBUTIONS):
        return Explanation(
            cause="torch.distributions looks at its parameters' values, which cannot be exported, and draws "
            "random numbers",
            remedy="use the formula of the mean or of the density, and take noise as an input",
        )
    if culprit.line is not None and culprit.line.source.startswith("assert "):
        return Explanation(
            cause="it asserts something about the input's values, which cannot be exported",
            remedy="leave the assertion out, or put it behind if not torch.compiler.is_exporting()",
        )
    why = next((str(each) for each in causes(error) if type(each).__name__ == _NO_CHOICE), None)
    return Explanation(
        cause="its control flow depends on the input's values, which cannot be exported",
        remedy=f"{why}: let both sides assign tensors of one shape and type, and change nothing else"
        if why
        else "compute both branches and choose by torch.where, and make no Python number of a tensor",
    )


def _of_transforms(error: BaseException) -> Explanation | None:
    """Explain what transforms of functions cannot do; None: it is nothing of that."""
    if type(error).__name__ == _DERIVATIVES:
        return Explanation(
            cause="it computes derivatives in forward, which cannot be exported",
            remedy="write the derivative as a formula, or compute it outside the network",
        )
    for said, operator in _IN_VMAP.items():
        if said.search(str(error)):
            reason = unsupported(Culprit(operator=operator))
            return replace(reason, cause=reason.cause.replace(f"operator {operator}", "torch.vmap"))
    return None


def _of_layers(scripted: Sequence[str], quantized: Sequence[str]) -> Explanation | None:
    """Explain what kind of layers cannot be traced; None: there are none."""
    if scripted:
        return Explanation(
            cause="it contains TorchScript, which torch.export cannot trace",
            remedy=f"use the layer itself instead of torch.jit.script or torch.jit.trace for {scripted[0]}",
        )
    if quantized:
        return Explanation(
            cause="it contains layers that PyTorch has quantized, which torch.export cannot trace",
            remedy=f"give the network as it was before {quantized[0]} was quantized: int8 quantizes it",
        )
    return None


def _of_python(error: BaseException) -> Explanation | None:
    """Explain that the code leaves what can be traced; None: it is not known where."""
    if _in_file(error, _RECURRENT) and _PACKED in str(error):
        return Explanation(
            cause="it packs sequences by their lengths, which depend on the input's values, and an "
            "artifact's sizes are fixed",
            remedy="run the recurrent layer on the padded sequences, and choose by a mask or torch.gather",
        )
    if _TO_NUMPY in str(error):
        return Explanation(
            cause=".numpy() leaves PyTorch, and nothing behind it can be exported",
            remedy="compute that by PyTorch's own operators",
        )
    return None


def _in_file(error: BaseException, file: re.Pattern[str]) -> bool:
    """Whether an error, or one of its causes, has passed through a file."""
    return any(
        file.search(frame.f_code.co_filename)
        for cause in causes(error)
        for frame, _ in traceback.walk_tb(cause.__traceback__)
    )
