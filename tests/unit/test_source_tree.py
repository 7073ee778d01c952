"""Rules of the source tree that no linter checks."""

import ast
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("module", [m for m in _MODULES if m.parts[0] in _PRODUCT], ids=str)
def test_every_module_has_a_docstring(module):
    source = (_ROOT / module).read_text()
    assert not source or ast.get_docstring(ast.parse(source))
