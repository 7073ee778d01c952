"""Lets operators that cannot be quantized stay in floats, where the quantizer would refuse all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

#: Largest step of an integer. The converter writes `-inf` as the smallest number: LiteRT aborts on some
#: operators with it in their range, and every other value of that range is the same integer.
_MAX_STEP = 1e33


class InfiniteScale(ValueError):
    """A tensor whose range is infinite, or as good as that, as that of a mask with infinite constants."""


#: Whether an operator stays in floats: takes its name, such as `CONV_2D`, and that of its first result.
InFloats = Callable[[str, str], bool]


@contextmanager
def floats_where_needed(
    in_floats: InFloats = lambda operator, result: False,
) -> Iterator[None]:
    """Keep each operator that fails to be quantized inside the context in floats.

    What the quantizer can do is done as without it.

    Args:
        in_floats: whether an operator stays in floats although it can be quantized.
    """
    from ai_edge_quantizer import algorithm_manager, params_generator, qtyping

    original = algorithm_manager.get_quantization_func

    def with_fallback(algorithm: Any, operator: Any, mode: Any) -> Callable[..., Any]:
        function = original(algorithm, operator, mode)
        if mode is not qtyping.QuantizeMode.MATERIALIZE:
            return function  # type: ignore[no-any-return]

        def materialize(op_info: Any, graph_info: Any, *args: Any, **kwargs: Any) -> Any:
            name, tensors = str(op_info.op_name.value), graph_info.subgraph_tensors
            is_virtual = op_info.subgraph_op_index < 0  # of an input or an output
            try:
                if is_virtual or not in_floats(name, tensors[op_info.op.outputs[0]].name.decode()):
                    results = function(op_info, graph_info, *args, **kwargs)
                    _require_finite(results)
                    return results
            except Exception as error:
                if isinstance(error, MemoryError) or is_virtual:
                    raise
            return params_generator.ParamsGenerator._get_params_for_no_quant_op(
                None, op_info.subgraph_op_index, op_info.op, tensors
            )

        return materialize

    with mock.patch.object(algorithm_manager, "get_quantization_func", with_fallback):
        yield


def _require_finite(results: Any) -> None:
    for tensor in results:
        for use in (tensor.producer, *(tensor.consumers or ())):
            scale = getattr(use and use.parameters, "scale", None)
            if scale is not None and not (np.asarray(scale) < _MAX_STEP).all():
                raise InfiniteScale(f"tensor {tensor.tensor_name} has an infinite range")
