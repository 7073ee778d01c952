"""Names of ATen operators, and those whose decompositions were compared with torch's."""

from typing import Any

import torch

_NAMES = """
    __and__ __lshift__ __or__ __rshift__ __xor__ _adaptive_avg_pool2d _adaptive_avg_pool3d _cdist_forward
    _conj _embedding_bag_forward_only _fft_c2c _fft_c2r _fft_r2c _log_softmax _native_batch_norm_legit
    _native_batch_norm_legit_no_training _neg_view _softmax _to_copy _trilinear _unsafe_index
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d _weight_norm abs acos
    acosh adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool2d adaptive_max_pool3d add add_ addcdiv addcmul addmm affine_grid_generator all amax
    amin aminmax angle any arange argmax argmin argsort as_strided asin asinh atan atan2 atanh avg_pool1d
    avg_pool2d avg_pool3d baddbmm batch_norm bilinear bitwise_and bitwise_not bitwise_or bitwise_xor bmm
    broadcast_tensors broadcast_to bucketize cat cdist ceil celu channel_shuffle chunk clamp clamp_min
    clamp_min_ clone col2im complex constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d
    conv_transpose2d conv_transpose3d convolution copy_ copysign cos cosh cosine_similarity count_nonzero
    cummax cummin cumprod cumsum diag diag_embed diagonal diff dist div dot dropout dstack einsum elu elu_
    embedding embedding_bag empty eq erf erfc erfinv exp exp2 expand expand_as expm1 eye fft_fft fft_fft2
    fft_fftshift fft_ifft fft_ihfft fft_irfft fft_irfft2 fft_rfft fft_rfft2 fill flatten flip floor
    floor_divide fmax fmin fmod frac full full_like gather ge gelu glu grid_sampler grid_sampler_2d
    group_norm gru gt hardshrink hardsigmoid hardswish hardtanh heaviside hstack hypot im2col imag index
    index_add index_copy index_fill index_put index_select instance_norm isfinite isinf isnan kron
    kthvalue layer_norm le leaky_relu leaky_relu_ lerp linalg_cross linalg_matrix_norm linalg_matrix_power
    linalg_vector_norm linear linspace log log10 log1p log2 log_sigmoid log_softmax logaddexp logcumsumexp
    logical_and logical_not logical_or logical_xor logit logsumexp lstm lt mT masked_fill masked_scatter
    matmul max max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d
    max_pool3d_with_indices max_unpool2d max_unpool3d maximum mean median meshgrid min minimum mish mm
    mode movedim mse_loss mul mv nan_to_num nansum narrow native_batch_norm native_group_norm
    native_layer_norm ne neg new_zeros numpy_T one_hot ones ones_like outer pad pairwise_distance permute
    pixel_shuffle pixel_unshuffle polar positive pow prelu prod real reciprocal reflection_pad2d relu
    relu6 relu_ remainder repeat repeat_interleave replication_pad2d reshape resolve_neg rms_norm rnn_relu
    rnn_tanh rnn_tanh_cell roll rot90 round rsqrt rsub scalar_tensor scaled_dot_product_attention scatter
    scatter_add scatter_reduce searchsorted select select_scatter selu sgn sigmoid sign signbit silu sin
    sinc sinh slice smooth_l1_loss softmax softplus softshrink sort split split_with_sizes sqrt square
    squeeze stack std std_mean sub sum swapaxes t take take_along_dim tan tanh tensor_split tensordot
    threshold tile to topk trace transpose tril triu trunc unbind unflatten unfold unsqueeze
    upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
    upsample_nearest3d upsample_trilinear3d var var_mean view view_as_real vstack where xlogy zero zeros
    zeros_like
"""
#: Operators whose decompositions were compared with torch's over the operator suite (`atlas.decompositions`).
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
