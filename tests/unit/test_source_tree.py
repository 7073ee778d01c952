"""Rules of the source tree that no linter checks."""

import ast
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PRODUCT = ("services", "workers")
_MODULES = sorted(
    path.relative_to(_ROOT)
    for folder in (*_PRODUCT, "migrations", "tests", "tools")
    for path in (_ROOT / folder).rglob("*.py")
)
_MAX_LINES = 300


def test_a_long_module_says_why_it_is_long():
    sources = {module: (_ROOT / module).read_text() for module in _MODULES}
    unexplained = [
        str(module)
        for module, source in sources.items()
        if source.count("\n") > _MAX_LINES
        and f"More than {_MAX_LINES} lines:" not in (ast.get_docstring(ast.parse(source)) or "")
    ]
    assert unexplained == []


def test_a_package_with_code_of_its_own_has_a_docstring():
    """Of other modules ruff says it."""
    packages = [module for module in _MODULES if module.parts[0] in _PRODUCT and module.name == "__init__.py"]
    sources = {package: (_ROOT / package).read_text() for package in packages}
    silent = [
        package for package, source in sources.items() if source and not ast.get_docstring(ast.parse(source))
    ]
    assert packages and silent == []
