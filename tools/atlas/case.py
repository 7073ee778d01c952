"""A case of the operator suite: a network of one operator, in one rank, stride, mode, type and so on."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from nnlite.catalog.model import ModelInput, ModelSpec
from nnlite.vocabulary import ModelFormat

#: Shape of an input, or shape and NumPy name of its type; floats in [-1, 1) are the default.
Input = tuple[int, ...] | tuple[tuple[int, ...], str]

_ARGUMENTS = ("x", "y", "z")
_CODE = """\
import torch
import torchvision
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
{init}

    def forward(self, {arguments}):
{forward}
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network of the suite."""

    #: As the exported graph names it, without namespace and overload: `conv2d`; of several, as PyTorch does.
    operator: str
    #: What tells it from the operator's other cases, such as `stride=2, padding=same`.
    variant: str
    #: An expression of the inputs `x`, `y`, `z`; or several statements, the last one a `return`.
    forward: str
    inputs: tuple[ModelInput, ...]
    #: Statements of the constructor.
    init: str = ""

    @property
    def name(self) -> str:
        """Operator and variant: unique in the suite."""
        return f"{self.operator} {self.variant}".strip()

    @property
    def code(self) -> str:
        """The network's file."""
        body = self.forward if "return " in self.forward else f"return {self.forward}"
        return _CODE.format(
            init=textwrap.indent(self.init or "pass", " " * 8),
            arguments=", ".join(_ARGUMENTS[: len(self.inputs)]),
            forward=textwrap.indent(body, " " * 8),
        )

    def spec(self) -> ModelSpec:
        """Return the network as a conversion takes it."""
        return ModelSpec(
            name="net.py",
            code=self.code,
            transform_code=None,
            inputs=self.inputs,
            model_format=ModelFormat.PYTHON,
            entry_point="Net",
        )


def case(operator: str, forward: str, *inputs: Input, init: str = "", variant: str = "") -> Case:
    """Return one case.

    Args:
        variant: what tells it from others; empty: what `forward` does.
    """
    return Case(
        operator=operator,
        variant=variant or forward.replace("\n", "; "),
        forward=forward,
        inputs=tuple(map(_input, inputs)),
        init=init,
    )


def each(operator: str, *forwards: str, inputs: tuple[Input, ...], init: str = "") -> Iterator[Case]:
    """Yield a case for each expression, of the same inputs."""
    for forward in forwards:
        yield case(operator, forward, *inputs, init=init)


def _input(of: Input) -> ModelInput:
    if of and isinstance(of[0], tuple):
        shape, dtype = of
        return ModelInput(shape=shape, dtype=str(dtype))
    return ModelInput(shape=of)
