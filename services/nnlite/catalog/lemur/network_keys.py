"""Finds the hyperparameters that can change a model's network, from its source alone; nothing executes it.

A key is idle when only training reads it: `train_setup`, `learn` and `supported_hyperparameters` of LEMUR's
convention, an attribute that only those read, or the probability of a dropout, which a network in eval mode
does not use. If in doubt a key matters: one that decides a branch, or that reaches code outside the
file; and every key, if the hyperparameters are passed on as a whole.
"""

import ast
import warnings
from collections import Counter
from collections.abc import Iterator

from nnlite.catalog.untrusted.source_text import UNPARSABLE

#: Methods that a conversion never calls.
TRAINING = frozenset({"train_setup", "learn", "supported_hyperparameters"})

#: Layers of PyTorch that pass their input on in eval mode, whatever their probability `p`.
_DROPOUTS = frozenset(
    {"Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"}
)
#: Layers of PyTorch whose argument `dropout` does nothing in eval mode.
_WITH_DROPOUT = frozenset(
    {"MultiheadAttention", "TransformerEncoderLayer", "TransformerDecoderLayer", "LSTM", "GRU", "RNN"}
)
#: PyTorch's function, of which the argument `training` decides.
_DROPOUT = "dropout"
#: Names that have to mean PyTorch's own, wherever they are bound.
_TORCHS = _DROPOUTS | _WITH_DROPOUT | {"torch", "nn", "F"}
#: What makes a number of numbers.
_ARITHMETIC = frozenset({"float", "int", "bool", "abs", "round", "max", "min"})
#: What could reach a key without naming it, or turn an assignment into something else.
_REFLECTION = frozenset({"locals", "globals", "vars", "eval", "exec", "getattr", "inspect"})
_HOOKS = frozenset({"__getattr__", "__getattribute__", "__setattr__", "__new__", "__init_subclass__"})
#: Attributes of every PyTorch module that mean something to it.
_MEANINGFUL = frozenset({"training", "forward", "call_super_init", "dump_patches"})
_MODULE = frozenset({"nn.Module", "torch.nn.Module", "Module", "object"})

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Assignment = ast.Assign | ast.AnnAssign


def network_keys(code: str) -> frozenset[str] | None:
    """Return the hyperparameters that may change the network that `code` defines; None: any of them may."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(code)
        return HyperparameterAnalysis(tree).keys()
    except (*UNPARSABLE, Undecidable):
        return None


class Undecidable(Exception):
    """The source does not tell how the hyperparameters are used."""


class HyperparameterAnalysis:
    """Data-flow analysis of one model's source, without the code that only training calls."""

    def __init__(self, tree: ast.Module) -> None:
        self._parents: dict[ast.AST, ast.AST] = {}
        self._nodes = list(self._walk(tree, outermost=True))
        self._classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self._functions = {node.name: node for node in tree.body if isinstance(node, _Function)}
        self._bound = Counter(_bound(self._nodes))
        self._defined = {node.name for node in self._nodes if isinstance(node, _Function | ast.ClassDef)}
        self._loads: dict[str, list[ast.Attribute]] = {}
        for node in self._nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                self._loads.setdefault(node.attr, []).append(node)
        self._visited: set[tuple[ast.AST | None, str]] = set()

    def keys(self) -> frozenset[str]:
        """Return the keys that may matter.

        Raises:
            Undecidable: any may.
        """
        net = self._classes.get("Net")
        constructor = _constructor(net)
        if net is None or constructor is None or len(constructor.args.args) < 4 or not self._is_plain(net):
            raise Undecidable
        self._refuse_reflection()
        name = constructor.args.args[3].arg
        reads = [node for node in ast.walk(constructor) if isinstance(node, ast.Name) and node.id == name]
        return frozenset(key for node in reads for key, read in self._read(node) if self._matters(read))

    def _matters(self, read: ast.expr) -> bool:
        self._visited.clear()
        return not self._is_idle(read)

    def _walk(self, node: ast.AST, *, outermost: bool) -> Iterator[ast.AST]:
        yield node
        inside = outermost and isinstance(node, ast.Module | ast.ClassDef)
        for child in ast.iter_child_nodes(node):
            self._parents[child] = node
            if not (inside and isinstance(child, _Function) and child.name in TRAINING):
                yield from self._walk(child, outermost=inside)

    def _refuse_reflection(self) -> None:
        """Refuse code in which a key or a layer may be something else than its name says."""
        if (_REFLECTION | _HOOKS | _TORCHS - {"torch", "nn", "F"}) & self._bound.keys():
            raise Undecidable
        if any(name in self._loads for name in (*TRAINING, "__dict__")):
            raise Undecidable
        for node in self._nodes:
            if isinstance(node, ast.Name) and node.id in _REFLECTION:
                raise Undecidable
            if isinstance(node, ast.Import | ast.ImportFrom) and not _of_torch(node):
                raise Undecidable

    def _read(self, node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
        """Yield the key that is read from the hyperparameters `node`, and the expression that reads it.

        Where they become an attribute, what is read from that is yielded.
        """
        parent = self._parents[node]
        if not isinstance(getattr(node, "ctx", None), ast.Load):
            raise Undecidable
        if isinstance(parent, ast.Subscript) and parent.value is node and isinstance(parent.ctx, ast.Load):
            yield _text(parent.slice), parent
        elif isinstance(parent, ast.Attribute) and (call := _get_of(self._parents[parent], parent)):
            yield _text(call.args[0]), call
        elif isinstance(parent, ast.Compare) and isinstance(parent.ops[0], ast.In | ast.NotIn):
            yield _text(parent.left), parent
        elif isinstance(parent, _Assignment) and (attribute := self._own_attribute(parent)):
            for load in self._loads.get(attribute, ()):
                yield from self._read(load)
        else:
            raise Undecidable

    def _is_idle(self, value: ast.AST) -> bool:
        """Return whether the network is the same whatever `value` is."""
        parent = self._parents[value]
        if isinstance(parent, _Assignment):
            return self._is_idle_assignment(parent)
        if isinstance(parent, ast.IfExp | ast.BinOp | ast.UnaryOp | ast.BoolOp) or _get_of(parent):
            # Nothing may be made or drawn on one of the ways.
            calls = [node for node in ast.walk(parent) if isinstance(node, ast.Call)]
            return all(_get_of(call) or self._is_arithmetic(call) for call in calls) and self._is_idle(parent)
        if isinstance(parent, ast.Call) and value in parent.args:
            position = parent.args.index(value)
            return self._is_idle(parent) if self._is_arithmetic(parent) else self._ignores(parent, position)
        call = self._parents.get(parent)
        return (
            isinstance(parent, ast.keyword) and isinstance(call, ast.Call) and self._ignores(call, parent.arg)
        )

    def _is_idle_assignment(self, assignment: _Assignment) -> bool:
        if attribute := self._own_attribute(assignment):
            return self._is_visited(None, attribute) or all(
                map(self._is_idle, self._loads.get(attribute, ()))
            )
        function, target = self._enclosing(assignment), _target(assignment)
        return bool(function and isinstance(target, ast.Name) and self._is_idle_name(function, target.id))

    def _is_idle_name(self, function: _Function, name: str) -> bool:
        """Return whether no use of the local `name` in `function` makes another network."""
        if self._is_visited(function, name):
            return True
        for node in ast.walk(function):
            if isinstance(node, ast.Global | ast.Nonlocal) and name in node.names:
                return False
            used = isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
            if used and not self._is_idle(node):
                return False
        return True

    def _is_visited(self, where: _Function | None, name: str) -> bool:
        """Return whether this was visited before, as in a cycle: then the other uses decide."""
        visited = (where, name) in self._visited
        self._visited.add((where, name))
        return visited

    def _ignores(self, call: ast.Call, argument: int | str | None) -> bool:
        """Return whether what is called makes the same network whatever this argument is."""
        called = _called(call)
        if isinstance(call.func, ast.Name) and (function := self._own_function(called)):
            starred = any(isinstance(each, ast.Starred) for each in call.args)
            return not starred and self._ignores_parameter(function, argument)
        if called in _DROPOUTS:
            return argument in {0, "p"}
        if called == _DROPOUT:
            training = [ast.unparse(each.value) for each in call.keywords if each.arg == "training"]
            return argument in {1, "p"} and training == ["self.training"]
        return called in _WITH_DROPOUT and argument == "dropout"

    def _ignores_parameter(self, function: _Function, argument: int | str | None) -> bool:
        arguments = function.args
        named = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
        named = named[1:] if isinstance(self._parents[function], ast.ClassDef) else named
        if isinstance(argument, int):
            argument = named[argument] if argument < len(named) else None
        known = {*named, *(each.arg for each in arguments.kwonlyargs)}
        return argument is not None and argument in known and self._is_idle_name(function, argument)

    def _own_function(self, name: str) -> _Function | None:
        """Return what the call of `name` runs, if that is here and nothing else has its name."""
        if self._bound[name] != 1:
            return None
        owner = self._classes.get(name)
        if owner is not None:
            return _constructor(owner) if self._is_plain(owner) else None
        function = self._functions.get(name)
        return None if function is None or function.decorator_list else function

    def _own_attribute(self, assignment: _Assignment) -> str | None:
        """Return `x` of `self.x = ...` where that stores a value and does nothing else."""
        target, owner = _target(assignment), self._owner(assignment)
        if not isinstance(target, ast.Attribute) or owner is None:
            return None
        plain = isinstance(target.value, ast.Name) and target.value.id == "self" and self._is_plain(owner)
        name = target.attr
        usual = not name.startswith("_") and name not in _MEANINGFUL and name not in self._defined
        return name if plain and usual else None

    def _is_plain(self, owner: ast.ClassDef) -> bool:
        """Return whether a class is what it says: all that it inherits is here or PyTorch's module."""
        if owner.keywords or owner.decorator_list:
            return False
        bases = [ast.unparse(base) for base in owner.bases]
        known = {name: node for name, node in self._classes.items() if node is not owner}
        return all(base in _MODULE or (base in known and self._is_plain(known[base])) for base in bases)

    def _is_arithmetic(self, node: ast.AST) -> bool:
        name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
        return name in _ARITHMETIC and name not in self._bound

    def _enclosing(self, node: ast.AST) -> _Function | None:
        while (parent := self._parents.get(node)) is not None:
            if isinstance(parent, _Function):
                return parent
            node = parent
        return None

    def _owner(self, node: ast.AST) -> ast.ClassDef | None:
        function = self._enclosing(node)
        owner = self._parents.get(function) if function else None
        return owner if isinstance(owner, ast.ClassDef) else None


def _bound(nodes: list[ast.AST]) -> Iterator[str]:
    """Yield every name that the code gives to something of its own."""
    for node in nodes:
        if isinstance(node, _Function | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def _of_torch(node: ast.Import | ast.ImportFrom) -> bool:
    """Return whether an import leaves PyTorch's names to PyTorch."""
    for alias in node.names:
        bound = alias.asname or alias.name.partition(".")[0]
        origin = alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
        # A star import may bind any name.
        if (bound in _TORCHS or bound == "*") and origin.partition(".")[0] != "torch":
            return False
    return True


def _constructor(owner: ast.ClassDef | None) -> _Function | None:
    methods = [node for node in (owner.body if owner else ()) if isinstance(node, _Function)]
    found = [node for node in methods if node.name == "__init__"]
    return found[0] if len(found) == 1 and not found[0].decorator_list else None


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _get_of(node: ast.AST | None, attribute: ast.Attribute | None = None) -> ast.Call | None:
    """Return `node` if it is a call of some `.get(...)`, and of this `attribute` if one is given."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "get":
        return None
    return node if node.args and attribute in (None, node.func) else None


def _target(assignment: _Assignment) -> ast.expr | None:
    targets = assignment.targets if isinstance(assignment, ast.Assign) else [assignment.target]
    return targets[0] if len(targets) == 1 else None


def _text(key: ast.expr) -> str:
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        return key.value
    raise Undecidable
