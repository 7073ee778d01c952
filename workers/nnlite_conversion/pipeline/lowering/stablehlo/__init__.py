"""Builds for common ATen operators the StableHLO that jax gives for litert-torch's implementations of them.

Each function takes the operator's arguments, with MLIR values for tensors, and adds operations at the current
insertion point, in jax's order; constants come first, as jax prints them.
"""

from nnlite_conversion.pipeline.lowering.stablehlo import elementwise, reductions, shapes
from nnlite_conversion.pipeline.lowering.stablehlo.values import FUNCTIONS, NotCovered

__all__ = ["FUNCTIONS", "NotCovered", "elementwise", "reductions", "shapes"]
