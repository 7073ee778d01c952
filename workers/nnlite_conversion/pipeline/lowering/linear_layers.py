"""Lowers linear layers to the converter's own product, which takes the weights in PyTorch's layout.

PyTorch multiplies by the transposed weight. The converter computes that transposition when it folds
constants, element by element, and transposes the result again for its operator for linear layers: half of the
conversion of a network with large ones. The file has the same operators and weights; its constants have
another order and other names.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from litert_converter.mlir import ir
from litert_torch.backend.inline_consts import tensor_lowering_placeholder
from litert_torch.backend.lowerings import context, registry

aten = torch.ops.aten


@contextmanager
def direct_linear_layers() -> Iterator[None]:
    """Lower products with transposed weights as linear layers inside the context."""
    registered = registry.global_registry.registered_ops
    others = registered[aten.mm.default]

    def product(lctx: context.LoweringContext, x: ir.Value, y: ir.Value) -> Any:
        weight = _weight(lctx.node, y)
        return others(lctx, x, y) if weight is None else _product(x, weight)

    with mock.patch.dict(registered, {aten.mm.default: product}):
        yield


def _weight(product: torch.fx.Node | None, y: ir.Value) -> ir.Value | None:
    """Return the constant that `y`, the second factor, transposes; None: it is something else."""
    transposed = product.args[1] if product else None
    if not isinstance(transposed, torch.fx.Node) or transposed.target is not aten.permute.default:
        return None
    constant, dims = transposed.args
    if constant.target is not tensor_lowering_placeholder or list(dims) != [1, 0]:
        return None
    # A function that transposes was called with it.
    weight = y.owner.operands[0]
    return weight if isinstance(weight.type.element_type, ir.F32Type) else None


def _product(x: ir.Value, weight: ir.Value) -> ir.Value:
    """Return the product with the transposed weight.

    Not as a linear layer at once: the converter makes one of it, after the passes that would give what is
    before a linear layer another shape, such as a mean its dimensions.
    """
    (rows, _), (outputs, _) = x.type.shape, weight.type.shape
    return ir.Operation.create(
        "tfl.batch_matmul",
        results=[ir.RankedTensorType.get([rows, outputs], x.type.element_type)],
        operands=[x, weight],
        attributes={"adj_x": ir.BoolAttr.get(False), "adj_y": ir.BoolAttr.get(True)},
    ).results[0]
