"""Operators that are lowered directly become the StableHLO that litert-torch builds for them by jax."""

import multiprocessing
import re
from collections.abc import Iterator
from multiprocessing.pool import Pool
from typing import Any
from unittest import mock

import pytest
from litert_converter.mlir import ir
from litert_converter.mlir.dialects import func
from litert_torch.backend import export_utils, lowerings
from torch.utils._pytree import tree_leaves, tree_map

from nnlite_conversion.pipeline.lowering import direct_lowering
from nnlite_conversion.pipeline.lowering.direct_lowering import direct_lowerings
from nnlite_conversion.pipeline.lowering.signatures import key_of
from nnlite_conversion.pipeline.lowering.stablehlo import FUNCTIONS
from unit.conversion.stablehlo_calls import COVERED, IMAGE, LEFT, Call, Of, aten


def lowered(*calls: Call) -> str:
    """Return the module of calls with the same tensors, without the names of its functions."""
    context = export_utils.create_ir_context()
    with context, ir.Location.unknown():
        module = ir.Module.create()
        types = [
            ir.RankedTensorType.get(each.shape, export_utils.torch_dtype_to_ir_element_type(each.dtype))
            for each in tree_leaves(calls[0].args)
            if isinstance(each, Of)
        ]
        caller = func.FuncOp(
            "caller", ir.FunctionType.get(types, []), ip=ir.InsertionPoint.at_block_begin(module.body)
        )
        with ir.InsertionPoint(caller.add_entry_block()):
            lowering = lowerings.context.LoweringContext(context, module)
            for call in calls:
                parameters = iter(caller.arguments)
                args = tree_map(lambda each: next(parameters) if isinstance(each, Of) else each, call.args)  # noqa: B023
                lowerings.lookup(call.operator)(lowering, *args, **call.kwargs)
        text = str(module.operation.get_asm())
    # What litert-torch's own names depend on, and an attribute of jax that nothing reads.
    return re.sub(r', res_attrs = \[.*?\](?=, sym)|sym_name = "\w+"|callee = @\w+', "", text)


def compared(name: str) -> tuple[str, str, bool]:
    """Return the module by litert-torch and the direct one, and whether it was built directly."""
    call = next(each for each in (*COVERED, *LEFT) if each.name == name)
    by_library = lowered(call)
    direct = []
    build = direct_lowering._built
    noted = mock.patch.object(
        direct_lowering, "_built", lambda *args: direct.append(build(*args)) or direct[-1]
    )
    with noted, direct_lowerings():
        return by_library, lowered(call), direct[0] is not None


def functions_of(factors: list[Any]) -> list[str]:
    """Return the constants of the functions that products with numbers have in one module."""
    with direct_lowerings():
        module = lowered(*(Call(aten.mul.Scalar, (IMAGE, each), {}) for each in factors))
    return sorted(re.findall(r"dense<(\S+)> : tensor<f32>", module))


def lowered_with_a_bug() -> tuple[int, bool]:
    """Return how often a function that raises is logged in two modules, and whether jax lowered them."""
    call = Call(aten.relu.default, (IMAGE,), {})

    def broken(*_: Any) -> None:
        raise IndexError("a bug")

    by_library = lowered(call)
    with (
        mock.patch.dict(FUNCTIONS, {call.operator: broken}),
        mock.patch.object(direct_lowering._logger, "warning") as warning,
        direct_lowerings(),
    ):
        same = lowered(call) == by_library and lowered(call) == by_library
    return warning.call_count, same


@pytest.fixture(scope="module")
def other_process() -> Iterator[Pool]:
    """A process of their own for calls: one that used jax must not fork."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        yield pool


@pytest.mark.parametrize("call", COVERED, ids=lambda call: call.name)
def test_function_is_that_of_litert_torch(call, other_process):
    by_library, direct, covered = other_process.apply(compared, (call.name,))

    assert covered
    assert direct == by_library


@pytest.mark.parametrize("call", LEFT, ids=lambda call: call.name)
def test_signature_that_is_not_covered_is_left_to_litert_torch(call, other_process):
    by_library, direct, covered = other_process.apply(compared, (call.name,))

    assert not covered
    assert direct == by_library


def test_an_error_of_a_function_is_logged_once_and_the_operator_left_to_litert_torch(other_process):
    assert other_process.apply(lowered_with_a_bug) == (1, True)


def test_numbers_that_python_takes_for_equal_have_functions_of_their_own(other_process):
    constants = other_process.apply(functions_of, ([0.0, -0.0, 2.5, 2.5],))

    assert constants == ["-0.000000e+00", "0.000000e+00", "2.500000e+00"]
    keys = {key_of(each, ir.Value, lambda _: None) for each in (1, 1.0, True, 0, 0.0, -0.0, False)}
    assert len(keys) == 7


def test_every_operator_is_compared():
    assert {call.operator for call in COVERED} == set(FUNCTIONS)


def test_lowerings_are_those_of_litert_torch_outside_the_context():
    before = dict(lowerings.registry.global_registry.registered_ops)
    with direct_lowerings():
        assert lowerings.registry.global_registry.registered_ops != before

    assert lowerings.registry.global_registry.registered_ops == before
