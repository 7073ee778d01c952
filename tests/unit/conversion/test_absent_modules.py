"""Modules that a model's code only imports need not be installed; one that it uses is named."""

import sys

import pytest

from nnlite_conversion import explanations
from nnlite_conversion.pipeline.loading import absent_modules
from nnlite_conversion.pipeline.loading.absent_modules import AbsentModuleUsed


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Import code from a model's file; return its names and the absent modules that it imported."""

    def execute(code: str) -> tuple[dict, tuple[str, ...]]:
        file = tmp_path / "net.py"
        file.write_text(code)
        names = {"__name__": "net"}
        absent_modules.enable(file, code)
        exec(compile(code, str(file), "exec"), names)
        return names, absent_modules.imported()

    before = {**sys.modules}
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(absent_modules, "_finders", [])
    yield execute
    for name in sys.modules.keys() - before:
        if isinstance(sys.modules[name], absent_modules._AbsentModule):
            del sys.modules[name]


@pytest.mark.parametrize(
    "code",
    [
        "import no_plots.pyplot as plt\ndef show(): plt.plot()",
        "from no_kernels.norm.fused import FusedNorm, other",
        "from no_kernels import fused as f\nchosen = f.fast.norm",
        "from no_framework import Norm\nplain = isinstance(3, Norm), isinstance(3, (int, Norm))",
        "from no_config import Config\ndef f(a: Config | None, b: 'Config', *c: list[Config]) -> Config: ...",
        "import no_tracker, no_tracker.inner.deep",
    ],
)
def test_what_is_only_imported_and_named_is_no_error(run, code):
    names, absent = run(code)

    assert absent == (code.replace("from ", "import ").split()[1].partition(".")[0].strip(","),)
    assert names.get("plain", (False, True)) == (False, True)


@pytest.mark.parametrize(
    ("use", "symbol"),
    [
        ("vendor.norm.Fused(3)", "vendor.norm.Fused"),
        ("class Net(vendor.Module): pass", "vendor.Module"),
        ("vendor.ENABLED and 1", "vendor.ENABLED"),
        ("vendor.SIZE + 1", "vendor.SIZE"),
        ("2 * vendor.SIZE", "vendor.SIZE"),
        ("vendor.TABLE['x']", "vendor.TABLE"),
        ("list(vendor.NAMES)", "vendor.NAMES"),
        ("with vendor.context: pass", "vendor.context"),
        ("vendor.rc.color = 1", "vendor.rc"),
        ("@vendor.register\nclass A: pass", "vendor.register"),
    ],
)
def test_what_is_used_is_named_with_its_module(run, use, symbol):
    with pytest.raises(AbsentModuleUsed) as failure:
        run(f"import vendor\n{use}")

    assert (failure.value.symbol, failure.value.name) == (symbol, "vendor")
    explained = explanations.of_import(failure.value)
    assert explained.cause.endswith(
        f"the module 'vendor', which conversion workers do not have; it uses {symbol}"
    )


@pytest.mark.parametrize(
    "guard",
    [
        "try:\n    import no_kernels\n    fast = True\nexcept ImportError:\n    fast = False",
        "try:\n    from no_kernels import a\n    fast = True\n"
        "except (ValueError, ModuleNotFoundError):\n    fast = False",
        "try:\n    import no_kernels.x as k\n    fast = True\nexcept:\n    fast = False",
        "from contextlib import suppress\nfast = False\n"
        "with suppress(ImportError):\n    import no_kernels\n    fast = True",
        "import importlib.util\nfast = importlib.util.find_spec('no_kernels') is not None",
        "import importlib\ntry:\n    importlib.import_module('no_kernels')\n    fast = True\n"
        "except Exception:\n    fast = False",
    ],
)
def test_code_that_asks_whether_a_module_is_there_learns_the_truth(run, guard):
    names, absent = run(guard)

    assert names["fast"] is False and absent == ()


def test_a_missing_part_of_an_installed_package_is_an_error_as_ever(run):
    with pytest.raises(ModuleNotFoundError, match="json"):
        run("import json.no_such_module")
    with pytest.raises(ImportError, match="no_such_name"):
        run("from json import no_such_name")
