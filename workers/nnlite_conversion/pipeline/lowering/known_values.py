"""Follows the values of tensors that depend on no input while a network is traced.

Tracing knows shapes and no values, so that `x[:, self.mask]` or `int(self.lengths.max())` counts as depending
on the input's values. Here the values of small parameters, buffers and constants are computed next to the
trace, and what asks for them gets them: a mask becomes indices, and a tensor's number one of Python.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.weak import WeakIdKeyDictionary

from nnlite_conversion.pipeline.lowering.written_data import AssignedData

#: Name of this rewrite, as artifacts record it.
KNOWN_VALUES = "known_values"
#: Most elements of a tensor whose values are followed.
MAX_ELEMENTS = 1 << 20

_BY_VALUE = """
    nonzero nonzero_numpy argwhere masked_select unique unique_consecutive _unique2 unique_dim bincount
    combinations repeat_interleave item _local_scalar_dense tolist equal allclose is_nonzero
    __bool__ __int__ __float__ __index__ __contains__
"""
#: Functions whose results, or the sizes of these, depend on values; `where` of one argument is one, too.
_ASKING: Final = frozenset(_BY_VALUE.split())
#: Functions that take only shape and type of their tensors.
_OF_SHAPE: Final = frozenset({"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"})
#: Functions that make tensors of sizes.
_MAKING: Final = frozenset({"zeros", "ones", "full", "empty", "arange", "linspace", "eye"})
#: Functions of a tensor and sizes.
_OF_SIZES: Final = frozenset(
    {"view", "reshape", "expand", "repeat", "narrow", "split", "chunk", "roll", "tile", "unfold", "new_zeros"}
)
#: How the names begin of functions whose results are random or arbitrary.
_RANDOM: Final = ("rand", "normal", "bernoulli", "multinomial", "poisson", "dropout", "empty", "new_empty")
#: Functions whose results share the memory of what is no tensor.
_SHARING: Final = frozenset({"from_numpy", "as_tensor", "asarray", "frombuffer"})
_OPERATORS: Final = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"]
_IN_PLACE: Final = frozenset({"__setitem__", *(f"__i{name}__" for name in _OPERATORS)})
#: Functions that may change statistics among their arguments.
_OF_STATISTICS: Final = frozenset({"batch_norm", "instance_norm", "native_batch_norm"})
#: Stands for a value that is not known.
_UNKNOWN: Final[Any] = object()


@contextmanager
def known_values(module: torch.nn.Module, changing: Collection[str] = ()) -> Iterator["KnownValues"]:
    """Follow values inside the block, in which `module` is traced.

    Args:
        changing: names of buffers that each run changes, whose values are not known.
    """
    values = {
        name: tensor.detach().clone()
        for name, tensor in _tensors(module).items()
        if name not in changing and tensor.numel() <= MAX_ELEMENTS
    }
    known = KnownValues()
    original = module.forward

    @wraps(original)
    def forward(*inputs: Any) -> Any:
        now = _tensors(module)
        with known.of(
            {now[name]: _without_tracing(value.clone) for name, value in values.items() if name in now}
        ):
            return known.assigned.now(original(*inputs))

    module.forward = forward
    try:
        yield known
    finally:
        del module.forward


class KnownValues(TorchFunctionMode):  # type: ignore[misc]
    """Computes the values of what depends on no input; `used`: whether anything has asked for them."""

    def __init__(self) -> None:
        super().__init__()
        self.used = False
        self._values: Any = WeakIdKeyDictionary()
        #: PyTorch's count of a tensor's changes when its value was computed; a view has that of its base.
        self._versions: Any = WeakIdKeyDictionary()
        self.assigned = AssignedData()

    @contextmanager
    def of(self, values: Mapping[torch.Tensor, torch.Tensor]) -> Iterator[None]:
        """Follow the values of these tensors, and of what is computed from them, inside the block."""
        self._values, self._versions = WeakIdKeyDictionary(), WeakIdKeyDictionary()
        self.assigned = AssignedData()
        for tensor, value in values.items():
            self._set(tensor, value)
        with self:
            yield

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function == torch.Tensor.data.__set__:
            self.used = True
            self.assigned.assign(args[0], self.__torch_function__(torch.Tensor.detach, types, args[1:]))
            return None
        args, kwargs = self.assigned.now(args), dict(self.assigned.now(kwargs or {}))
        if function == torch.Tensor.data.__get__:
            self.used = True
            function = torch.Tensor.detach  # which export can trace
        name = getattr(function, "__name__", "").partition(".")[0]
        known = self._known(name, args, kwargs)
        if known is not None and (name in _ASKING or (name == "where" and len(args) == 1 and not kwargs)):
            values = _computed(function, *known)
            if values is not _UNKNOWN:
                self.used = True
                return pytree.tree_map(self._as_constant, values)
        result = self._call(function, name, args, kwargs)
        if name in _OF_STATISTICS:
            self._after_change(function, (args, kwargs), None)
        elif _works_in_place(name, kwargs):
            self._after_change(function, kwargs.get("out", args[:1]), known)
        elif known is not None and _is_small(result):
            self._keep(result, _computed(function, *known))
        return result

    def _known(self, name: str, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """Return a call's arguments with values for tensors; None: not all are known, or chance decides."""
        if name.startswith(_RANDOM):
            return None
        leaves, structure = pytree.tree_flatten((args, kwargs))
        values = [self._value(leaf, of_shape=name in _OF_SHAPE) for leaf in leaves]
        if any(value is _UNKNOWN for value in values):
            return None
        known: tuple[Any, Any] = pytree.tree_unflatten(values, structure)
        return known

    def _value(self, leaf: Any, *, of_shape: bool = False) -> Any:
        if isinstance(leaf, slice):
            parts = [self._value(part) for part in (leaf.start, leaf.stop, leaf.step)]
            return _UNKNOWN if any(part is _UNKNOWN for part in parts) else slice(*parts)
        if isinstance(leaf, torch.SymInt | torch.SymFloat | torch.SymBool):
            return _UNKNOWN
        if not isinstance(leaf, torch.Tensor):
            return leaf
        if of_shape and _is_small(leaf):
            return _without_tracing(lambda: torch.zeros(leaf.shape, dtype=leaf.dtype))
        if leaf not in self._values and _has_values(leaf):
            self._set(leaf, _without_tracing(lambda: leaf.detach().clone()))
        if leaf in self._values and self._versions[leaf] != leaf._version:
            del self._values[leaf]  # something else has changed it
        return self._values.get(leaf, _UNKNOWN)

    def _set(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        if not tensor.is_inference():  # those count no changes
            self._values[tensor], self._versions[tensor] = value, tensor._version

    def _as_constant(self, value: Any) -> Any:
        """Return what was computed in the graph that is being traced."""
        if not isinstance(value, torch.Tensor):
            return value
        result = torch.tensor(_without_tracing(value.numpy), dtype=value.dtype)
        self._set(result, value)
        return result

    def _keep(self, result: Any, values: Any) -> None:
        for tensor, value in zip(pytree.tree_leaves(result), pytree.tree_leaves(values), strict=False):
            if isinstance(tensor, torch.Tensor) and isinstance(value, torch.Tensor):
                self._set(tensor, value)

    def _after_change(self, function: Any, changed: Any, known: tuple[Any, Any] | None) -> None:
        """Change the values of a tensor as it was; where they are not known any more, forget them."""
        tensors = [each for each in pytree.tree_leaves(changed) if isinstance(each, torch.Tensor)]
        shared = {_storage(self._values[each]) for each in tensors if each in self._values}
        is_known = known is not None and _computed(function, *known) is not _UNKNOWN
        for tensor, value in list(self._values.items()):
            if _storage(value) in shared and is_known:
                self._versions[tensor] = tensor._version
            elif _storage(value) in shared:
                del self._values[tensor]

    def _call(self, function: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function with indices and numbers in the place of masks, counts and sizes that are known."""
        if name in ("__getitem__", "__setitem__") or (name == "index" and len(args) == 2):
            if name == "index":
                function, args = torch.Tensor.__getitem__, (args[0], _whole(args[1]))
            indices = self._indices(args[1])
            return function(args[0], indices, *args[2:], **kwargs)
        if name == "masked_select" and len(args) == 2:
            shape = torch.broadcast_shapes(*(each.shape for each in args))
            mask = self._value(args[1])
            if mask is not _UNKNOWN:
                return args[0].expand(shape)[self._places(_without_tracing(lambda: mask.expand(shape)))]
        if name == "repeat_interleave" and len(args) > 1:
            repeats = self._value(args[1])
            if isinstance(repeats, torch.Tensor) and repeats is not _UNKNOWN:
                return self._repeated(args[0], repeats, *args[2:], **kwargs)
        if name in _MAKING | _OF_SIZES:
            first, rest = args[: name in _OF_SIZES], args[name in _OF_SIZES :]
            rest, kwargs = pytree.tree_map(self._number, (rest, kwargs))
            args = (*first, *rest)
        return function(*args, **kwargs)

    def _indices(self, indices: Any) -> Any:
        if isinstance(indices, tuple):
            return tuple(new for index in indices for new in self._index(index))
        new = self._index(indices)
        return new[0] if len(new) == 1 else new

    def _index(self, index: Any) -> tuple[Any, ...]:
        if isinstance(index, slice):
            return (slice(*map(self._number, (index.start, index.stop, index.step))),)
        value = self._value(index) if isinstance(index, torch.Tensor) else _UNKNOWN
        if value is _UNKNOWN or value.dtype not in (torch.bool, torch.uint8):  # masks
            return (self._number(index),)
        if value.dim():
            return self._places(value)
        self.used = True
        return (bool(_without_tracing(value.item)),)

    def _places(self, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.used = True
        return tuple(map(self._as_constant, _without_tracing(lambda: mask.nonzero(as_tuple=True))))

    def _number(self, value: Any) -> Any:
        """Return a known integer in a tensor as one of Python, everything else as it is."""
        if not isinstance(value, torch.Tensor) or value.dim() or value.is_floating_point():
            return value
        known = self._value(value)
        if known is _UNKNOWN or known.dtype is torch.bool:
            return value
        self.used = True
        return _without_tracing(known.item)

    def _repeated(
        self, x: torch.Tensor, repeats: torch.Tensor, dim: int | None = None, **_: Any
    ) -> torch.Tensor:
        self.used = True
        if dim is None:
            x, dim = x.flatten(), 0
        counts = _without_tracing(lambda: repeats.reshape(-1).expand(x.shape[dim]))
        places = _without_tracing(lambda: torch.repeat_interleave(counts))
        return x.index_select(dim, self._as_constant(places))


def _tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict([*module.named_parameters(), *module.named_buffers()])


def _without_tracing(function: Callable[[], Any]) -> Any:
    with torch._C.DisableTorchFunction(), _disable_current_modes(), torch.no_grad():
        return function()


def _computed(function: Any, args: Any, kwargs: Any) -> Any:
    """Return the result of a function of values; `_UNKNOWN`: it fails."""
    try:
        result = _without_tracing(lambda: function(*args, **kwargs))
    except Exception:  # noqa: BLE001  (the same call in the trace says what is wrong)
        return _UNKNOWN
    if getattr(function, "__name__", "") in _SHARING:
        return _without_tracing(result.clone)
    return result


def _works_in_place(name: str, kwargs: Mapping[str, Any]) -> bool:
    named = name.endswith("_") and not name.endswith("__")
    return named or name in _IN_PLACE or bool(kwargs.get("inplace")) or kwargs.get("out") is not None


def _is_small(result: Any) -> bool:
    tensors = [each for each in pytree.tree_leaves(result) if isinstance(each, torch.Tensor)]
    sizes = [size for each in tensors for size in each.shape]
    return (
        bool(tensors)
        and all(isinstance(size, int) for size in sizes)
        and all(each.numel() <= MAX_ELEMENTS for each in tensors)
    )


def _has_values(tensor: torch.Tensor) -> bool:
    """Whether a tensor is one that the network holds, which is not traced as a parameter or buffer."""
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and not isinstance(tensor, FakeTensor)
    wrapped = torch._is_functional_tensor(tensor) or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    return plain and not wrapped and tensor.device.type == "cpu"


def _whole(indices: Any) -> tuple[Any, ...]:
    """Return the indices of `aten.index`, of which None means a whole dimension, as Python writes them."""
    return tuple(slice(None) if index is None else index for index in indices)


def _storage(value: torch.Tensor) -> int:
    address: int = value.untyped_storage()._cdata
    return address
