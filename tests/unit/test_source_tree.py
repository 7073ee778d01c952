"""Rules of the source tree that no linter checks."""

import ast
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_MODULES = sorted(
    path.relative_to(_ROOT) for folder in ("services", "workers") for path in (_ROOT / folder).rglob("*.py")
)
_MAX_LINES = 300


@pytest.mark.parametrize("module", _MODULES, ids=str)
def test_a_long_module_says_why_it_is_long(module):
    source = (_ROOT / module).read_text()
    if source.count("\n") > _MAX_LINES:
        assert f"More than {_MAX_LINES} lines:" in (ast.get_docstring(ast.parse(source)) or "")


@pytest.mark.parametrize("module", _MODULES, ids=str)
def test_every_module_has_a_docstring(module):
    source = (_ROOT / module).read_text()
    assert not source or ast.get_docstring(ast.parse(source))
