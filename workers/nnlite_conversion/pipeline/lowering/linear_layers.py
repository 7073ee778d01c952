"""Lowers linear layers to the converter's own operator, whose weights have the layout that PyTorch's have.

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
_VIEWS = {
    aten.view.default,
    aten._unsafe_view.default,
    aten.permute.default,
    aten.clone.default,
    aten.squeeze.dims,
}


@contextmanager
def direct_linear_layers() -> Iterator[None]:
    """Lower products with transposed weights as linear layers inside the context."""
    registered = registry.global_registry.registered_ops
    others = registered[aten.mm.default]

    def product(lctx: context.LoweringContext, x: ir.Value, y: ir.Value) -> Any:
        weight = _weight(lctx.node, y)
        return others(lctx, x, y) if weight is None else _linear(x, weight)

    with mock.patch.dict(registered, {aten.mm.default: product}):
        yield


def _weight(product: torch.fx.Node | None, y: ir.Value) -> ir.Value | None:
    """Return the constant that `y`, the second factor, transposes; None: it is something else."""
    transposed = product.args[1] if product else None
    if not isinstance(transposed, torch.fx.Node) or transposed.target is not aten.permute.default:
        return None
    constant, dims = transposed.args
    if constant.target is not tensor_lowering_placeholder or list(dims) != [1, 0] or _of_mean(product):
        return None
    # A function that transposes was called with it.
    weight = y.owner.operands[0]
    return weight if isinstance(weight.type.element_type, ir.F32Type) else None


def _of_mean(product: torch.fx.Node) -> bool:
    """Whether the first factor is a mean in another shape; the converter would keep dimensions of it."""
    factor = product.args[0]
    while factor.target in _VIEWS:
        factor = factor.args[0]
    return factor.target is aten.mean.dim


def _linear(x: ir.Value, weight: ir.Value) -> ir.Value:
    (rows, _), (outputs, _) = x.type.shape, weight.type.shape
    no_bias = ir.Operation.create(
        "tfl.no_value", results=[ir.NoneType.get()], attributes={"value": ir.UnitAttr.get()}
    )
    return ir.Operation.create(
        "tfl.fully_connected",
        results=[ir.RankedTensorType.get([rows, outputs], x.type.element_type)],
        operands=[x, weight, no_bias.results[0]],
        attributes={
            "fused_activation_function": ir.StringAttr.get("NONE"),
            "weights_format": ir.StringAttr.get("DEFAULT"),
            "keep_num_dims": ir.BoolAttr.get(True),
        },
    ).results[0]
