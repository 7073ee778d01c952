"""Lets operators that cannot be quantized stay in floats, where the quantizer would refuse all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np


class InfiniteScale(ValueError):
    """A tensor whose range is infinite, as that of a mask with infinite constants."""


@contextmanager
def floats_where_needed() -> Iterator[list[str]]:
    """Keep each operator that fails to be quantized inside the context in floats; yield the list of them.

    What the quantizer can do is done as without it.
    """
    from ai_edge_quantizer import algorithm_manager, params_generator, qtyping

    kept: list[str] = []
    original = algorithm_manager.get_quantization_func

    def with_fallback(algorithm: Any, operator: Any, mode: Any) -> Callable[..., Any]:
        function = original(algorithm, operator, mode)
        if mode is not qtyping.QuantizeMode.MATERIALIZE:
            return function  # type: ignore[no-any-return]

        def materialize(op_info: Any, graph_info: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                results = function(op_info, graph_info, *args, **kwargs)
                _require_finite(results)
            except Exception as error:
                if isinstance(error, MemoryError) or op_info.subgraph_op_index < 0:
                    raise
                kept.append(str(op_info.op_name.value))
                return params_generator.ParamsGenerator._get_params_for_no_quant_op(
                    None, op_info.subgraph_op_index, op_info.op, graph_info.subgraph_tensors
                )
            return results

        return materialize

    with mock.patch.object(algorithm_manager, "get_quantization_func", with_fallback):
        yield kept


def _require_finite(results: Any) -> None:
    for tensor in results:
        for use in (tensor.producer, *(tensor.consumers or ())):
            scale = getattr(use and use.parameters, "scale", None)
            if scale is not None and not np.isfinite(scale).all():
                raise InfiniteScale(f"tensor {tensor.tensor_name} has an infinite range")
