"""Compiles functions whose branches compute both sides, from their source.

Branches may assign variables, add to them in place and set elements of tensors. Those that contain something
else, such as `return`, are left as they are.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

#: Name of the module `branch_choice` in the functions that are changed.
CHOICE = "_nnlite_branch_choice"

#: What a branch becomes. `_TEST`, `_THEN` and `_ELSE` stand for its test and its sides, `_VARIABLES` for what
#: it may change; `_OWN` tells branches inside branches from each other.
_TEMPLATE = f"""
if {CHOICE}.is_value(_nnlite_test_OWN := _TEST):
    _nnlite_choice_OWN = {CHOICE}.Choice(locals(), _NAMES, _IN_PLACE, _READ)
    _VARIABLES = _nnlite_choice_OWN.begin()
    _THEN
    _nnlite_choice_OWN.end(_VARIABLES)
    _VARIABLES = _nnlite_choice_OWN.begin()
    _ELSE
    _nnlite_choice_OWN.end(_VARIABLES)
    _VARIABLES = _nnlite_choice_OWN.chosen(_nnlite_test_OWN)
elif _nnlite_test_OWN:
    _THEN
else:
    _ELSE
"""


def with_both(code: CodeType, numbers: set[int]) -> CodeType | None:
    """Return a function's code with the branches at these lines changed; None: not all can be."""
    try:
        tree = ast.parse(Path(code.co_filename).read_text(encoding="utf-8", errors="surrogatepass"))
    except (OSError, SyntaxError, ValueError):
        return None
    change = _Change(numbers, _declared(tree))
    tree = ast.fix_missing_locations(change.visit(tree))
    if change.left:
        return None
    compiled = compile(tree, code.co_filename, "exec", dont_inherit=True)
    found = (each for each in _nested(compiled) if place(each) == place(code))
    return next((each for each in found if each.co_freevars == code.co_freevars), None)


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


class _Change(ast.NodeTransformer):
    """Replaces the branches whose tests are at lines; `left`: lines without one that can be changed."""

    def __init__(self, lines: set[int], not_local: set[str]) -> None:
        self._lines = lines
        self._not_local = not_local
        self.left = set(lines)

    def visit_If(self, node: ast.If) -> Any:
        sides = [*node.body, *node.orelse]
        in_place = sorted({*_assigned(sides, in_place=True)})
        names = sorted({*_assigned(sides), *in_place})
        read = sorted({*_read(sides)})
        changes = self._is_at(node.test) and all(map(_only_assigns, sides))
        self.generic_visit(node)
        if not changes or not self._not_local.isdisjoint(names):
            return node
        self._found(node.test)
        parts = _without_not(node.test, node.body, node.orelse or [ast.Pass()])
        return _filled(*parts, names=names, in_place=in_place, read=read)

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        changes = self._is_at(node.test) and not any(map(_has_own_scope, [node.body, node.orelse]))
        self.generic_visit(node)
        if not changes:
            return node
        self._found(node.test)
        test, then, orelse = _without_not(node.test, node.body, node.orelse)
        call: Any = ast.parse(f"{CHOICE}.one_of(locals(), _, lambda: _, lambda: _)", mode="eval").body
        for each in ast.walk(call):
            ast.copy_location(each, node.test)
        call.args[1], call.args[2].body, call.args[3].body = test, then, orelse
        return call

    def _is_at(self, test: ast.expr) -> bool:
        return any(test.lineno <= line <= (test.end_lineno or test.lineno) for line in self._lines)

    def _found(self, test: ast.expr) -> None:
        self.left -= {*range(test.lineno, (test.end_lineno or test.lineno) + 1)}


def _filled(
    test: ast.expr,
    then: list[ast.stmt],
    orelse: list[ast.stmt],
    *,
    names: Sequence[str],
    in_place: Sequence[str],
    read: Sequence[str],
) -> list[ast.stmt]:
    variables = f"[{', '.join(names)}]"
    code = _TEMPLATE.replace("_VARIABLES", variables)
    code = code.replace("_NAMES", repr(names)).replace("_IN_PLACE", repr(in_place))
    code = code.replace("_READ", repr(read))
    code = code.replace("_OWN", f"_{test.lineno}_{test.col_offset}")
    parsed = ast.parse(code)
    for each in ast.walk(parsed):
        ast.copy_location(each, test)
    return [_Fill({"_TEST": test, "_THEN": then, "_ELSE": orelse}).visit(each) for each in parsed.body]


def _without_not(test: ast.expr, then: Any, orelse: Any) -> tuple[ast.expr, Any, Any]:
    """Return a test that is not negated, and its sides."""
    is_negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    return (test.operand, orelse, then) if is_negated else (test, then, orelse)  # type: ignore[attr-defined]


class _Fill(ast.NodeTransformer):
    """Puts code in the place of names."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self._parts = parts

    def visit_Expr(self, node: ast.Expr) -> Any:
        is_part = isinstance(node.value, ast.Name) and node.value.id in self._parts
        return self.visit(node.value) if is_part else self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> Any:
        return self._parts.get(node.id, node)


def _only_assigns(statement: ast.stmt) -> bool:
    """Whether a statement changes nothing but local variables and tensors that they hold."""
    if _has_own_scope(statement):
        return False
    if isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign):
        return all(map(_is_local, _targets(statement)))
    if isinstance(statement, ast.If | ast.For):
        inner = [*statement.body, *statement.orelse]
        return all(map(_is_local, _targets(statement))) and all(map(_only_assigns, inner))
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _has_own_scope(code: ast.AST) -> bool:
    """Whether code contains what is run later, or assigns where a function in its place would not."""
    kinds = (ast.Lambda, ast.NamedExpr, ast.Yield, ast.YieldFrom, ast.Await)
    return any(isinstance(each, kinds) for each in ast.walk(code))


def _declared(tree: ast.AST) -> set[str]:
    declarations = (each for each in ast.walk(tree) if isinstance(each, ast.Global | ast.Nonlocal))
    return {name for each in declarations for name in each.names}


def _is_local(target: ast.expr) -> bool:
    return isinstance(target.value if isinstance(target, ast.Subscript) else target, ast.Name)


def _targets(statement: ast.stmt) -> Iterator[ast.expr]:
    """Yield what a statement itself assigns to, without those inside it."""
    if isinstance(statement, ast.Assign):
        targets = [*statement.targets]
    else:
        targets = [statement.target] if isinstance(statement, ast.AugAssign | ast.AnnAssign | ast.For) else []
    while targets:
        target = targets.pop(0)
        if isinstance(target, ast.Tuple | ast.List):
            targets = [*target.elts, *targets]
        else:
            yield target.value if isinstance(target, ast.Starred) else target


def _assigned(statements: Iterable[ast.stmt], *, in_place: bool = False) -> Iterator[str]:
    """Yield the names of variables that are assigned, or whose values change in place."""
    for statement in statements:
        for target in _targets(statement):
            if isinstance(target, ast.Name) and in_place <= isinstance(statement, ast.AugAssign):
                yield target.id
            elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
                yield target.value.id
        if isinstance(statement, ast.If | ast.For):
            yield from _assigned([*statement.body, *statement.orelse], in_place=in_place)


def _read(statements: Iterable[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements read, with those inside them."""
    for statement in statements:
        for each in ast.walk(statement):
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load):
                yield each.id


def place(code: CodeType) -> tuple[str, str, int]:
    """Return what tells a function's code from that of others."""
    return code.co_filename, code.co_qualname, code.co_firstlineno
