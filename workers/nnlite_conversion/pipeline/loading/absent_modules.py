"""Lets a model's code import modules that are not installed: plots, trackers, vendors' kernels.

Most such code never uses them. An empty module takes the place of each, and raises an error with its name
when it is used. An import that the code guards itself, by `except ImportError` for instance, fails as always.
Runs in the forked child only.
"""

import ast
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn

#: Exceptions whose handler expects a module to be missing; a bare `except` does too.
_EXPECTED = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


class AbsentModuleUsed(ModuleNotFoundError):
    """The model's code uses something of a module that is not installed."""

    def __init__(self, symbol: str) -> None:
        root = symbol.partition(".")[0]
        super().__init__(f"{symbol} is used, and the module {root} is not installed", name=root)
        self.symbol = symbol


class _Absent:
    """Something of a module that is not installed. It may be named and annotated with, nothing else."""

    def __init__(self, name: str) -> None:
        self.__dict__["_name"] = name

    def __getattr__(self, attribute: str) -> "_Absent":
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return _Absent(f"{self._name}.{attribute}")

    def __instancecheck__(self, instance: Any) -> bool:
        return False

    def __subclasscheck__(self, subclass: Any) -> bool:
        return False

    def __or__(self, other: Any) -> Any:
        return self

    __ror__ = __or__

    def _used(self, *_: Any, **__: Any) -> NoReturn:
        raise AbsentModuleUsed(str(self.__dict__["_name"]))

    __call__ = __mro_entries__ = __getitem__ = __setitem__ = __iter__ = __len__ = __bool__ = __enter__ = (
        __exit__
    ) = _used
    __setattr__ = __contains__ = __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __truediv__ = _used
    __lt__ = __gt__ = __le__ = __ge__ = __float__ = __int__ = __index__ = _used


class _AbsentModule(ModuleType):
    """A module that is not installed."""

    def __getattr__(self, attribute: str) -> _Absent:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return _Absent(f"{self.__name__}.{attribute}")


class _Finder(MetaPathFinder, Loader):
    """Finds what no other finder does, if the model's file imports it without a guard."""

    def __init__(self, file: Path, code: str) -> None:
        self._file = str(file)
        self._guarded = list(_guarded(code))
        #: Top-level names of the absent modules that were imported.
        self.roots: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        root, _, submodule = fullname.partition(".")
        if submodule and root not in self.roots:
            return None  # the package is installed, and has no such module
        line = self._importing_line(sys._getframe(1))
        if line is None or any(first <= line <= last for first, last in self._guarded):
            return None
        self.roots.add(root)
        return importlib.util.spec_from_loader(fullname, self, is_package=True)

    def _importing_line(self, frame: FrameType | None) -> int | None:
        """Return the line of the model's file that imports; None: another file does."""
        while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib._bootstrap"):
            frame = frame.f_back
        return frame.f_lineno if frame is not None and frame.f_code.co_filename == self._file else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _AbsentModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to execute."""


_finders: list[_Finder] = []


def enable(file: Path, code: str) -> None:
    """Let imports of modules that are not installed succeed in the model's `file`, whose text is `code`."""
    finder = _Finder(file, code)
    _finders.append(finder)
    sys.meta_path.append(finder)


def imported() -> tuple[str, ...]:
    """Return the absent modules that the model's code has imported, sorted."""
    return tuple(sorted({root for finder in _finders for root in finder.roots}))


def _guarded(code: str) -> Iterator[tuple[int, int]]:
    """Yield first and last line of the statements whose failing imports the code handles itself."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # importing it raises the error
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and any(map(_expects_import_error, node.handlers)):
            yield node.body[0].lineno, node.body[-1].end_lineno or node.body[-1].lineno
        if isinstance(node, ast.With) and any("suppress" in ast.dump(item) for item in node.items):
            yield node.lineno, node.end_lineno or node.lineno


def _expects_import_error(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(each, ast.Name) and each.id in _EXPECTED for each in caught)
