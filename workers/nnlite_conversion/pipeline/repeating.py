"""Tells whether a network gives other outputs for the same input, as no artifact does, and why.

Runs in the forked child only.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray

from nnlite_conversion.culprit import CodeLine
from nnlite_conversion.pipeline.loading.load import WEIGHTS_SEED, Loaded, restore, seed_everything
from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.quantizing.data import Sample
from nnlite_conversion.pipeline.varying_lines import line_of_change, line_of_draw
from nnlite_conversion.pipeline.verifying.comparison import differs
from nnlite_conversion.pipeline.verifying.drawn_inputs import drawn_inputs
from nnlite_conversion.remedies import Explanation

RANDOM = Explanation(
    cause="the forward pass is random: PyTorch gives other outputs for the same input, by numbers that "
    "Python's random or NumPy draw, and an artifact has them as constants",
    remedy="draw them only if self.training, or take them as an input",
)
STATEFUL = Explanation(
    cause="PyTorch gives other outputs for the same input: the forward pass keeps something between calls, "
    "such as a counter, a list or a generator, or reads the clock, and an artifact does neither",
    remedy="take it as an input and return what is kept as an output",
)


class Variation(NamedTuple):
    """Why a network's outputs vary."""

    why: Explanation
    #: Of its code; None: not known.
    line: CodeLine | None


def why_outputs_vary(loaded: Loaded, seed: int) -> Variation | None:
    """Run a network several times on the seeded input, once with another one between; None: it is the same.

    Buffers that every run changes are left out: they are as before at each run that parity is judged on.
    """
    samples = loaded.samples
    other = drawn_inputs(samples, [None] * len(samples), seed)[0]
    try:
        with torch.no_grad():
            seed_everything(WEIGHTS_SEED)
            first, next_ = _outputs(loaded, samples), _outputs(loaded, samples)
            _outputs(loaded, other)
            seed_everything(WEIGHTS_SEED)
            last = _outputs(loaded, samples)
    except (Exception, SystemExit) as error:
        if isinstance(error, MemoryError):
            raise
        return None
    is_stateful = _differ(first, last)
    if not is_stateful and not _differ(first, next_):
        return None
    try:
        with torch.no_grad():
            line = _line(loaded, other, is_stateful=is_stateful)
    except (Exception, SystemExit) as error:
        if isinstance(error, MemoryError):
            raise
        line = None
    return Variation(STATEFUL if is_stateful else RANDOM, line)


def _line(loaded: Loaded, other: Sample, *, is_stateful: bool) -> CodeLine | None:
    def seeded() -> None:
        seed_everything(WEIGHTS_SEED)
        _outputs(loaded, loaded.samples)

    def between() -> None:  # as above
        seeded()
        _outputs(loaded, other)

    if is_stateful:
        return line_of_change(seeded, between)
    return line_of_draw(partial(_outputs, loaded, loaded.samples))


def _outputs(loaded: Loaded, sample: Sample) -> list[NDArray[Any]]:
    outputs = lowering.tensors_of(loaded.module(*map(torch.from_numpy, sample)))
    results = [output.detach().numpy().copy() for output in outputs]
    restore(loaded.module, loaded.changing)
    return results


def _differ(some: list[NDArray[Any]], others: list[NDArray[Any]]) -> bool:
    shapes = [[each.shape for each in outputs] for outputs in (some, others)]
    return shapes[0] != shapes[1] or any(map(differs, some, others))
