"""Lowers linear layers to the converter's own product, which takes the weights in PyTorch's layout.

PyTorch multiplies by the transposed weight. The converter computes that transposition when it folds
constants, element by element, and transposes the result again for its operator for linear layers: half of the
conversion of a network with large ones. What is not folded need not be copied into the converter's memory
either. The file has the same operators and weights; its constants have another order and other names.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from litert_converter.mlir import ir
from litert_torch.backend.inline_consts import InlineConstsContext, tensor_lowering_placeholder
from litert_torch.backend.lowerings import context, registry

aten = torch.ops.aten

#: Weights of so many bytes are not copied.
LARGE_BYTES = 1 << 20


@contextmanager
def direct_linear_layers() -> Iterator[None]:
    """Lower products with transposed weights as linear layers inside the context."""
    registered = registry.global_registry.registered_ops
    others, constants = registered[aten.mm.default], registered[tensor_lowering_placeholder]

    def product(lctx: context.LoweringContext, x: ir.Value, y: ir.Value) -> Any:
        weight = _weight(lctx.node, y)
        return others(lctx, x, y) if weight is None else _product(x, weight)

    def constant(lctx: context.LoweringContext, tensor: torch.Tensor) -> Any:
        if tensor.nbytes < LARGE_BYTES or not _only_multiplies(lctx.node):
            return constants(lctx, tensor)
        with mock.patch.object(InlineConstsContext.get(lctx), "enable_resource_constants", True):
            return constants(lctx, tensor)

    with mock.patch.dict(registered, {aten.mm.default: product, tensor_lowering_placeholder: constant}):
        yield


def _only_multiplies(node: torch.fx.Node | None) -> bool:
    """Whether a constant is only the transposed second factor of products, which nothing folds."""
    if node is None or not node.users or _is_tied(node):
        return False
    return all(
        transposed.target is aten.permute.default
        and list(transposed.args[1]) == [1, 0]
        and transposed.users
        and all(
            product.target is aten.mm.default and product.args[0] is not transposed
            for product in transposed.users
        )
        for transposed in node.users
    )


def _is_tied(constant: torch.fx.Node) -> bool:
    """Whether another constant shares the memory of this one."""
    constants = constant.graph.find_nodes(op="call_function", target=tensor_lowering_placeholder)
    addresses = [each.args[0].untyped_storage().data_ptr() for each in constants]
    return addresses.count(constant.args[0].untyped_storage().data_ptr()) > 1


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
