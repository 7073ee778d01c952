"""Tells whether a network gives other outputs for the same input, as no artifact does, and why.

Runs in the forked child only.
"""

from typing import Any

import torch
from numpy.typing import NDArray

from nnlite_conversion.pipeline.loading.load import WEIGHTS_SEED, Loaded, restore, seed_everything
from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.quantizing.data import Sample
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
    "such as a counter or a list, or reads the clock, and an artifact does neither",
    remedy="take it as an input and return what is kept as an output",
)


def why_outputs_vary(loaded: Loaded, seed: int) -> Explanation | None:
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
    if _differ(first, last):
        return STATEFUL
    return RANDOM if _differ(first, next_) else None


def _outputs(loaded: Loaded, sample: Sample) -> list[NDArray[Any]]:
    outputs = lowering.tensors_of(loaded.module(*map(torch.from_numpy, sample)))
    results = [output.numpy().copy() for output in outputs]
    restore(loaded.module, loaded.changing)
    return results


def _differ(some: list[NDArray[Any]], others: list[NDArray[Any]]) -> bool:
    shapes = [[each.shape for each in outputs] for outputs in (some, others)]
    return shapes[0] != shapes[1] or any(map(differs, some, others))
