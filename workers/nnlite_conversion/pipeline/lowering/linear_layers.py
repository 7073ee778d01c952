"""Lowers linear layers to the converter's own product, which takes the weights in PyTorch's layout.

PyTorch multiplies by the transposed weight. The converter computes that transposition when it folds
constants, element by element, and transposes the result again for its operator for linear layers: half of the
conversion of a network with large ones. What is not folded need not be copied into the converter's memory
either. The file has the same operators and weights; its constants have another order and other names.
"""

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from litert_converter.mlir import ir
from litert_torch.backend.inline_consts import InlineConstsContext, tensor_lowering_placeholder
from litert_torch.backend.lowerings import context, registry

from nnlite_conversion.pipeline.lowering.aten_operators import aten_name
from nnlite_conversion.pipeline.lowering.large_weights import LargeWeights

aten = torch.ops.aten

#: Operators that change nothing but shapes.
_SHAPING = frozenset({
    "view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "expand", "permute", "clone", "alias",
})  # fmt: skip
_SHIFTING = frozenset({"add", "sub", "rsub"})
#: What multiplies, normalizations included.
_SCALING = frozenset({
    "mul", "div", "neg", "_native_batch_norm_legit_no_training", "native_batch_norm", "batch_norm",
    "native_layer_norm", "native_group_norm",
})  # fmt: skip
#: Weights of so many bytes are not copied.
LARGE_BYTES = 1 << 20


@contextmanager
def direct_linear_layers(weights: LargeWeights | None) -> Iterator[None]:
    """Lower products with transposed weights as linear layers inside the context.

    Args:
        weights: takes large weights, which the converter then does not see; None: it sees all.
    """
    registered = registry.global_registry.registered_ops
    others, constants = registered[aten.mm.default], registered[tensor_lowering_placeholder]

    def product(lctx: context.LoweringContext, x: ir.Value, y: ir.Value) -> Any:
        weight = _weight(lctx.node, y)
        return others(lctx, x, y) if weight is None else _product(x, weight)

    def constant(lctx: context.LoweringContext, tensor: torch.Tensor) -> Any:
        if tensor.nbytes < LARGE_BYTES or not _only_multiplies(lctx.node):
            return constants(lctx, tensor)
        if weights is not None and (placeholder := weights.placeholder_of(tensor)) is not None:
            return placeholder
        with mock.patch.object(InlineConstsContext.get(lctx), "enable_resource_constants", True):
            return constants(lctx, tensor)

    with mock.patch.dict(registered, {aten.mm.default: product, tensor_lowering_placeholder: constant}):
        yield


def _only_multiplies(node: torch.fx.Node | None) -> bool:
    """Whether a constant is only the transposed second factor of products, and the converter folds nothing.

    It would fold what is next to a product and has constants, such as a normalization, into the weights.
    """
    if node is None or not node.users or _is_tied(node):
        return False
    return all(
        transposed.target is aten.permute.default
        and list(transposed.args[1]) == [1, 0]
        and transposed.users
        and all(
            product.target is aten.mm.default
            and product.args[0] is not transposed
            and not _changes(_source(product.args[0]), _SCALING | _SHIFTING)
            and not any(_changes(user, _SCALING) for user in _behind(product))
            for product in transposed.users
        )
        for transposed in node.users
    )


def _source(node: torch.fx.Node) -> torch.fx.Node:
    """Return what computes a value that is only given other shapes."""
    while _passes_on(node):
        node = node.args[0]
    return node


def _behind(node: torch.fx.Node) -> Iterator[torch.fx.Node]:
    """Yield what takes a value, as it is, in another shape, or with a constant added as a bias."""
    for user in node.users:
        if _passes_on(user) or _changes(user, _SHIFTING):
            yield from _behind(user)
        else:
            yield user


def _passes_on(node: torch.fx.Node) -> bool:
    """Whether a node changes nothing but the shape; a product with 1 is what linear layers become.

    A normalization returns several values, of which a node takes the first.
    """
    name = aten_name(node.target)
    return (
        name in _SHAPING
        or node.target is operator.getitem
        or (name == "mul" and not isinstance(node.args[1], torch.fx.Node) and node.args[1] == 1)
    )


def _changes(node: torch.fx.Node, names: frozenset[str]) -> bool:
    """Whether a node is one of these operators, and all but one of its factors or addends are constants."""
    if aten_name(node.target) not in names:
        return False
    return sum(not _is_constant(each) for each in node.all_input_nodes) == 1


def _is_constant(node: torch.fx.Node) -> bool:
    """Whether a value depends on no input of the graph; no recursion: graphs are thousands of nodes deep."""
    known, todo = {node}, [node]
    while todo:
        each = todo.pop()
        if each.op != "call_function":
            return False
        new = set(each.all_input_nodes) - known
        known |= new
        todo += new
    return True


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
