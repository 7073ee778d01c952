"""Finds the class or factory of a file that builds its network, from its syntax tree: nothing is executed."""

import ast
import re
import warnings
from typing import Final

from nnlite.catalog.model import CatalogError
from nnlite.catalog.untrusted.source_text import UNPARSABLE

#: A class or factory of an installed module, such as `torchvision.models:mobilenet_v2`.
MODULE: Final = re.compile(r"(?!.*\.py:)[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def find_entry_point(code: str, file: str, requested: str | None) -> str:
    """Return the name of the class or factory to call.

    By default it is the one class that derives from a Module and that no other class of the file uses.

    Args:
        file: its name, for messages.
        requested: named by the user; None: the default.

    Raises:
        CatalogError: the code does not parse, does not define `requested`, or has several candidates.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(code)
    except UNPARSABLE as error:
        raise CatalogError(f"no Python: {file} does not parse: {error}") from error
    networks = _networks(tree)
    if requested is not None:
        if requested not in _defined(tree):
            known = ", ".join(networks) or "no class that derives from torch.nn.Module"
            raise CatalogError(
                f"no {requested}: {file} has no such class and no such factory; it has {known}"
            )
        return requested
    if not networks:
        raise CatalogError(
            f"no network: no class of {file} derives from torch.nn.Module; name a factory: {file}:NAME"
        )
    whole = [name for name in networks if name not in _used(tree)] or networks
    if len(whole) > 1:
        raise CatalogError(f"several networks: {file} has {', '.join(whole)}; name one: {file}:{whole[-1]}")
    return whole[0]


def _defined(tree: ast.Module) -> set[str]:
    """Return the names at the top level of a file, below `if` and `try` too."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        waiting.extend(ast.iter_child_nodes(node))
    return names


def _networks(tree: ast.Module) -> list[str]:
    """Return the classes that derive from a Module, or from such a class of the file."""
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(_is_module(base, names) for base in node.bases):
            names.append(node.name)
    return names


def _is_module(base: ast.expr, known: list[str]) -> bool:
    name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
    return name in {"Module", "Sequential", *known}


def _used(tree: ast.Module) -> set[str]:
    """Return the names that classes use, directly or through functions; not those that only factories use."""
    mentioned = {
        node.name: {found.id for found in ast.walk(node) if isinstance(found, ast.Name)} - {node.name}
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    used: set[str] = set()
    waiting = [name for each in classes for name in mentioned[each]]
    while waiting:
        name = waiting.pop()
        if name in mentioned and name not in used:
            used.add(name)
            waiting.extend(mentioned[name])
    return used
