"""Rewrites of graphs, for operators that litert-torch does not lower, or lowers wrongly.

There are two kinds, both with results equal to PyTorch's. A rewrite of the graph takes the ATen graph that
`torch.export` returns, before decomposition, changes it in place, and returns whether it did. A rewrite of an
operator is a function that computes what the operator does (`operators.py`). To add one: a module here, an
entry in `REWRITES` or `OPERATORS`, its name and version in `cache_key`, a test.
"""

from collections.abc import Callable

import torch

from nnlite_conversion.pipeline.lowering.rewrites import (
    attention,
    computed_places,
    convolution,
    elementary,
    embedding,
    empty_tensors,
    expand,
    integers,
    linear,
    ordering,
    pooling,
    resampling,
    scatter,
    shapes,
)
from nnlite_conversion.pipeline.lowering.rewrites.operators import OperatorRewrites
from nnlite_conversion.pipeline.lowering.rewrites.packages import of_packages

Rewrite = Callable[[torch.fx.Graph], bool]

aten = torch.ops.aten

#: Rewrites of the exported graph, in the order in which they run. The names of those that changed it are
#: stored with the artifact.
REWRITES: tuple[Rewrite, ...] = (
    empty_tensors.without_empty_tensors,
    pooling.adaptive_max_pool2d,
    linear.high_rank_linear,
    expand.needless_expand,
    convolution.named_padding,
    convolution.computed_weights,
    pooling.max_unpool_of_pool,
    pooling.indices_of_max_pool,
    attention.zeros_where_all_is_masked,
    attention.zeros_where_layers_mask_all,
)

#: Rewrites of operators of the decomposed graph. Halves and complex numbers are rewritten besides.
OPERATORS: OperatorRewrites = {
    aten.add.Tensor: elementary.scaled_sum,
    aten.add.Scalar: elementary.scaled_sum,
    aten.sub.Tensor: elementary.scaled_difference,
    aten.sub.Scalar: elementary.scaled_difference,
    aten.exp2.default: elementary.power_of_two,
    aten.erfc.default: elementary.complementary_error,
    aten.fmax.default: elementary.larger_number,
    aten.fmin.default: elementary.smaller_number,
    aten.hypot.default: elementary.hypotenuse,
    aten.signbit.default: elementary.sign_bit,
    aten.copysign.Tensor: elementary.with_sign_of,
    aten.logical_xor.default: elementary.exclusive_or,
    aten.dist.default: elementary.distance,
    aten.rrelu_with_noise_functional.default: elementary.leaky_relu_of_mean_slope,
    aten.upsample_nearest2d.vec: resampling.nearest_by_index,
    aten.upsample_bilinear2d.vec: resampling.bilinear_by_index,
    aten._upsample_bilinear2d_aa.default: resampling.antialiased_bilinear,
    aten._upsample_bicubic2d_aa.default: resampling.antialiased_bicubic,
    aten.adaptive_max_pool2d.default: pooling.adaptive_max_pool_by_index,
    aten.adaptive_max_pool3d.default: pooling.adaptive_max_pool_by_index,
    aten._adaptive_avg_pool3d.default: pooling.average_of_adaptive_windows,
    aten.avg_pool3d.default: pooling.average_within_volume,
    aten.convolution.default: convolution.unsupported_convolution,
    torch.ops.torchvision.deform_conv2d.default: computed_places.deformable_convolution,
    torch.ops.torchvision.roi_align.default: computed_places.regions_by_index,
    aten.scatter_add.default: scatter.scatter_add_by_comparison,
    aten.scatter.reduce: scatter.scatter_reduce_by_comparison,
    aten.scatter.value_reduce: scatter.scatter_reduce_by_comparison,
    aten.scatter_reduce.two: scatter.scatter_reduce_by_comparison,
    aten.index_put.default: scatter.index_put_by_comparison,
    aten.masked_scatter.default: scatter.masked_scatter_by_index,
    aten.sort.default: ordering.sort_by_comparison,
    aten.sort.stable: ordering.stable_sort_by_comparison,
    aten.topk.default: ordering.topk_by_comparison,
    aten.kthvalue.default: ordering.kthvalue_by_comparison,
    aten.median.dim: ordering.median_by_comparison,
    aten.median.default: ordering.median_of_all_by_comparison,
    aten.mode.default: ordering.mode_by_comparison,
    aten.cummax.default: ordering.cummax_by_comparison,
    aten.cummin.default: ordering.cummin_by_comparison,
    aten.cumprod.default: ordering.cumprod_of_all_before,
    aten.logcumsumexp.default: ordering.logcumsumexp_of_all_before,
    aten.bucketize.Tensor: ordering.bucketize_by_comparison,
    aten.searchsorted.Tensor: ordering.searchsorted_by_comparison,
    aten.erfinv.default: elementary.inverse_error,
    aten.arange.start_step: integers.arange_of_bytes,
    **{
        getattr(getattr(aten, name), overload): integers.comparison_of_bytes(function)
        for name, function in integers.COMPARISONS.items()
        for overload in ("Tensor", "Scalar")
    },
    aten.bitwise_not.default: integers.complement,
    **{
        getattr(getattr(aten, name), overload): function
        for name, function in integers.BITWISE.items()
        for overload in ("Tensor", "Scalar")
    },
    aten.grid_sampler_2d.default: resampling.sampled_within_reflections,
    aten.abs.default: integers.absolute_of_integers,
    aten.sign.default: integers.sign_of_integers,
    aten.pow.Tensor_Scalar: integers.power_of_integers,
    aten.__lshift__.Scalar: integers.left_shift_as_product,
    aten.__rshift__.Scalar: integers.right_shift_as_quotient,
    aten.div.Tensor_mode: integers.rounded_quotient,
    aten.div.Scalar_mode: integers.rounded_quotient,
    aten.fmod.Tensor: integers.remainder_of_truncated_quotient,
    aten.fmod.Scalar: integers.remainder_of_truncated_quotient,
    aten._assert_async.msg: elementary.without_assertion,
    aten.embedding_renorm.default: embedding.rows_of_limited_norm,
    aten._embedding_bag.default: embedding.embedding_bag_by_comparison,
    aten._embedding_bag_forward_only.default: embedding.embedding_bag_by_comparison,
    aten._trilinear.default: linear.trilinear_product,
    aten._neg_view.default: elementary.negative,
    aten.triu_indices.default: shapes.places_of_upper_triangle,
    aten.tril_indices.default: shapes.places_of_lower_triangle,
    aten.flip.default: shapes.flips_of_neighbours,
    aten.unfold.default: shapes.windows_by_index,
    aten.constant_pad_nd.default: shapes.padding_of_one_dimension,
    aten.einsum.default: linear.product_with_matrix,
}


def apply_rewrites(program: torch.export.ExportedProgram) -> tuple[str, ...]:
    """Run every rewrite of the graph on `program` in place; return the names of those that changed it."""
    graph = program.graph_module.graph
    rewrites = (*REWRITES, *of_packages().graphs)
    changed = tuple(rewrite.__name__ for rewrite in rewrites if rewrite(graph))
    if changed:
        graph.eliminate_dead_code()
        graph.lint()
        program.graph_module.recompile()
    return changed
