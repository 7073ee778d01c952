"""Names of ATen operators, and those whose decompositions were compared with torch's."""

from typing import Any

import torch

_NAMES = """
    __or__ _adaptive_avg_pool2d _native_batch_norm_legit _native_batch_norm_legit_no_training _softmax
    _to_copy abs adaptive_avg_pool2d add add_ addmm amax amin arange as_strided avg_pool2d batch_norm
    bitwise_or bmm cat ceil chunk clamp clone constant_pad_nd contiguous conv1d conv2d conv_transpose2d
    convolution copy_ cos div dropout elu elu_ empty eq exp expand flatten floor ge gelu group_norm gt
    hardsigmoid hardswish hardtanh index instance_norm layer_norm le leaky_relu leaky_relu_ linear log1p
    lt matmul max max_pool2d max_pool2d_with_indices maximum mean min minimum mish mm mul
    native_batch_norm native_layer_norm ne neg pad permute pixel_shuffle pow prelu reflection_pad2d relu
    relu6 relu_ repeat replication_pad2d reshape rsqrt scalar_tensor scaled_dot_product_attention select
    sigmoid silu sin slice softmax softplus split_with_sizes sqrt squeeze stack sub sum tanh to
    transpose unflatten unsqueeze upsample_bilinear2d upsample_nearest2d var_mean view where
"""
#: Operators whose decompositions were compared with torch's: those of the cases of the tests.
VERIFIED = frozenset(_NAMES.split())


class LeftToTorch(Exception):
    """A graph, or an operator in it, has to be decomposed by torch."""


def aten_name(target: Any) -> str:
    """Return the name of an ATen operator, such as `mul`, without its overload; empty: it is none."""
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
        return ""
    name: str = target._schema.name
    return name.removeprefix("aten::")


def require_verified(target: Any) -> None:
    """Raise for an operator whose decomposition was not compared with torch's; Python functions call them."""
    is_marker = target is torch.ops.litert_torch.mark_tensor.default
    if isinstance(target, torch._ops.OperatorBase) and not is_marker and aten_name(target) not in VERIFIED:
        raise LeftToTorch(f"{target} was not compared with torch's decomposition")
