"""Quantizes large weights in parts.

So does ai-edge-quantizer 0.10.0, but it counts elements where it means rows, and so quantizes nothing tens of
thousands of times.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

#: Tensors of more bytes are quantized in parts, by the quantizer as well.
MAX_BYTES = 32 << 20


@contextmanager
def in_rows() -> Iterator[None]:
    """Quantize tensors of more than 32 MB in parts that the quantizer takes at once, to the same values."""
    from ai_edge_quantizer.algorithms.uniform_quantize import uniform_quantize_tensor

    original = uniform_quantize_tensor.uniform_quantize

    def quantize(tensor: NDArray[Any], parameters: Any, is_blockwise_quant: bool = False) -> NDArray[Any]:
        if is_blockwise_quant or tensor.ndim < 2 or tensor.nbytes <= MAX_BYTES:
            return original(tensor, parameters, is_blockwise_quant)  # type: ignore[no-any-return]
        parameters = uniform_quantize_tensor.fix_quantization_params_rank(tensor, parameters)
        rows = max(1, MAX_BYTES * len(tensor) // tensor.nbytes)
        parts = [
            original(
                tensor[start : start + rows],
                replace(
                    parameters,
                    scale=_rows(parameters.scale, start, rows),
                    zero_point=_rows(parameters.zero_point, start, rows),
                ),
            )
            for start in range(0, len(tensor), rows)
        ]
        return np.concatenate(parts)

    with mock.patch.object(uniform_quantize_tensor, "uniform_quantize", quantize):
        yield


def _rows(values: NDArray[Any], start: int, rows: int) -> NDArray[Any]:
    return values if len(values) == 1 else values[start : start + rows]
