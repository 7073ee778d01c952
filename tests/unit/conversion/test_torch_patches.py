"""The patches of torch give the same results as torch, and are undone when their context ends."""

import copy
import gc

import pytest
import torch
from torch._export import utils as export_utils
from torch._ops import OperatorBase
from torch.fx.traceback import NodeSource

from nnlite_conversion.pipeline.lowering import torch_patches


def test_composite_operators_equal_those_that_torch_collects():
    assert torch_patches.composite_operators() == export_utils._collect_all_valid_cia_ops()


def test_operator_registered_later_is_found():
    before = torch_patches.composite_operators()
    library = torch.library.Library("nnlite_test_patches", "DEF")
    try:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x * 2, "CompositeImplicitAutograd")

        operators = torch_patches.composite_operators() - before
    finally:
        library._destroy()

    assert {operator.name() for operator in operators} == {"nnlite_test_patches::twice"}


def test_py_impl_registers_a_kernel_once():
    operator = torch.ops.aten.cumprod.default
    key = torch._C.DispatchKey.AutogradXPU
    with torch_patches.patched_torch():
        operator.py_impl(key)(abs)
        try:
            assert operator.py_kernels[key] is abs
            with pytest.raises(RuntimeError, match="aten::cumprod"):
                operator.py_impl(key)(abs)
        finally:
            del operator.py_kernels[key]
            operator._dispatch_cache.clear()
        with pytest.raises(AssertionError, match=r"DispatchKey\.Python"):
            operator.py_impl(torch._C.DispatchKey.Python)(abs)


def test_patches_are_undone_when_the_context_ends():
    before = OperatorBase.py_impl, gc.get_threshold()
    source = NodeSource(None, "a pass")

    with pytest.raises(ZeroDivisionError), torch_patches.patched_torch():
        assert copy.deepcopy(source) is source
        raise ZeroDivisionError

    assert (OperatorBase.py_impl, gc.get_threshold()) == before
    assert copy.deepcopy(source) is not source
