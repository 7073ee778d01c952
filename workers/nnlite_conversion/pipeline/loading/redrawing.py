"""Redraws parameters that hide a network from parity: a zero-initialized head makes every output constant.

Trained weights are never redrawn.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray

from nnlite.errors import Failure
from nnlite_conversion.pipeline.loading.load import WEIGHTS_SEED, Loaded, forward
from nnlite_conversion.pipeline.verifying.comparison import differs

#: Standard deviation of the normal distribution that parameters are redrawn from, as of many initializations.
DEVIATION = 0.02

Outputs = Sequence[NDArray[Any]]


def redrawn(loaded: Loaded, others: Sequence[tuple[NDArray[Any], ...]]) -> tuple[Loaded, list[str]] | None:
    """Return the network with hiding parameters redrawn, and their names; None where that reveals nothing.

    Args:
        loaded: a network with an output that does not depend on its input.
        others: inputs other than the seeded one.
    """
    before = constant_outputs([loaded.expected, *(forward(loaded.module, inputs) for inputs in others)])
    for chosen in (_zero_weights, _constant_weights):
        try:
            module = copy.deepcopy(loaded.module)
        except Exception:  # noqa: BLE001  (a network may hold anything)
            return None
        names = list(_redraw(chosen(module)))
        if not names:
            continue
        try:
            outputs = [forward(module, inputs) for inputs in (loaded.samples, *others)]
        except Failure:
            continue
        if len(constant_outputs(outputs)) < len(before):
            return replace(loaded, module=module, expected=outputs[0]), names
    return None


def constant_outputs(outputs: Sequence[Outputs]) -> list[int]:
    """Return the numbers of the outputs that are the same for every input."""
    first, *others = outputs
    return [
        number
        for number, tensor in enumerate(first)
        if not any(differs(tensor, other[number]) for other in others)
    ]


def _zero_weights(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Yield parameters that are all zero; biases usually are, and hide nothing."""
    for name, parameter in module.named_parameters():
        if not name.endswith("bias") and not torch.any(parameter):
            yield name, parameter


def _constant_weights(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Yield matrices whose elements are all equal as well."""
    yield from _zero_weights(module)
    for name, parameter in module.named_parameters():
        equal = parameter.dim() > 1 and bool((parameter == parameter.flatten()[0]).all())
        if equal and torch.any(parameter):
            yield name, parameter


def _redraw(parameters: Iterator[tuple[str, torch.nn.Parameter]]) -> Iterator[str]:
    generator = torch.Generator().manual_seed(WEIGHTS_SEED)
    for name, parameter in parameters:
        with torch.no_grad():
            parameter.normal_(0.0, DEVIATION, generator=generator)
        yield name.removeprefix("network.")
