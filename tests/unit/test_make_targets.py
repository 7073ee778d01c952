"""Every target of the Makefile runs in a small size in the tests, or its recipe names only what exists."""

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from waiting import HANG_S

pytestmark = pytest.mark.process

CHECKOUT = Path(__file__).parents[2]
MAKEFILE = (CHECKOUT / "Makefile").read_text()
HERE = "tests/unit/test_make_targets.py"
#: The file of tests that runs what a target runs, in a small size.
SMALL_RUNS = {
    "architectures": "tests/integration/conversion/test_architectures.py",
    "atlas": "tests/integration/conversion/test_operator_suite.py",
    "apk": "tests/android_app/test_apk.py",
    "bench": "tests/benchmarks/test_benchmarks.py",
    "clean": HERE,
    "compose-test": "tests/integration/test_compose_lab.py",
    "coverage": HERE,
    "docs": "tests/integration/release/test_site.py",
    "demo": "tests/end_to_end/test_run.py",
    "first-phone": "tests/device/test_first_phone.py",
    "format": HERE,
    "help": HERE,
    "lemur-coverage": "tests/integration/conversion/test_lemur_coverage.py",
    "host-app": "tests/android_app/test_on_android.py",
    "monitoring": HERE,
    "rig": "tests/device/test_rig.py",
    "rig-campaign": "tests/device/test_campaign.py",
    "runtime-check": "tests/integration/test_runtime_check.py",
    "runtime-check-arm64": "tests/android_app/test_runtime_match.py",
    "runtime-check-tensorflow": "tests/android_app/test_runtime_match.py",
    "runtime-match": "tests/android_app/test_runtime_match.py",
    "schema": "tests/unit/benchmark/test_report.py",
    "shapes": "tests/unit/conversion/test_input_shapes.py",
    "wheel": "tests/integration/release/test_wheel.py",
}
#: Run as they are, or only with a network; of these, as of all, the recipe is checked.
OTHERS = {"constraints", "kubernetes-check", "lint", "setup"}
TARGETS = sorted(set(re.findall(r"^([a-z0-9-]+):.*## ", MAKEFILE, re.MULTILINE)))
#: Programs with arguments of their own, which run long.
PROGRAMS = ("android_app.runtime_match", "device.campaign")

_OURS = "services|workers|migrations|tests|tools|android_app|deploy|docs"
_FILE = re.compile(rf"(?<![\w./-])(?:{_OURS}|\.venv/bin)/[\w./-]*\w")
_MODULE = re.compile(r"(?:python3?|run) -m ([a-z_]\w*(?:\.\w+)*)(?= |$)", re.MULTILINE)


def make(folder: Path, *arguments: str) -> str:
    """Run `make` in `folder` without the options of a `make` or of a coverage run around the tests."""
    around = ("MAKE", "MFLAGS", "COVERAGE", "COV_", "PYTEST")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(around)}
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile and the environment of this checkout."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", ".venv", ".nnlite"):
        (tmp_path / name).symlink_to(CHECKOUT / name)
    return tmp_path


#: What is installed is not installed again, whatever was edited since.
INSTALLED = "--old-file=.venv/.installed"


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_in_a_small_size(target):
    assert target in SMALL_RUNS.keys() | OTHERS or re.fullmatch("test(-[a-z-]+)?", target), (
        f"let a test run what `make {target}` runs, in a small size, and name it in SMALL_RUNS"
    )
    assert (CHECKOUT / SMALL_RUNS.get(target, HERE)).is_file()


def test_recipes_name_what_exists():
    recipes = make(CHECKOUT, "--dry-run", "--always-make", *TARGETS)
    assert [name for name in _FILE.findall(recipes) if not (CHECKOUT / name).exists()] == []
    assert [name for name in _MODULE.findall(recipes) if importlib.util.find_spec(name) is None] == []


def test_help_lists_the_targets(checkout):
    assert re.findall(r"^  make (\S+) +\S", make(checkout, "help"), re.MULTILINE) == [
        line.partition(":")[0] for line in MAKEFILE.splitlines() if re.match(r"[a-z0-9-]+:.*## ", line)
    ]


def test_clean_removes_what_make_made_and_nothing_else(tmp_path):
    shutil.copy(CHECKOUT / "Makefile", tmp_path)
    made = ".venv/bin/python", ".nnlite/sources/file", "build/file", "package/__pycache__/module.pyc"
    for name in (*made, "package/module.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    make(tmp_path, "clean")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "Makefile",
        "package",
        "package/module.py",
    ]


def test_format_formats_the_code(checkout):
    module = checkout / "module.py"
    module.write_text('"""Prints."""\nimport sys, os\nprint( os,sys )\n')
    make(checkout, INSTALLED, "format")
    assert module.read_text() == '"""Prints."""\n\nimport os\nimport sys\n\nprint(os, sys)\n'


@pytest.mark.slow
def test_coverage_measures_the_tests_that_are_named(checkout):
    for name in ("services", "workers", "migrations", "tests"):
        (checkout / name).symlink_to(CHECKOUT / name)
    lemur = f"--old-file={checkout}/.nnlite/sources/nn_dataset-2.1.2-py3-none-any.whl"
    built = [f"--old-file=build/{file}" for file in ("app-runtime/.built", "host-app/class_path")]
    report = make(checkout, INSTALLED, lemur, *built, "coverage", "COVERAGE=tests/unit/host/test_backoff.py")
    assert re.search(r"services/nnlite/host/backoff.py +\d+ +0 +100%$", report, re.MULTILINE), report


def test_monitoring_checks_prometheus_configuration(checkout):
    if not (CHECKOUT / ".nnlite/prometheus/usr/bin/amtool").is_file():
        pytest.skip("`make monitoring` has not fetched promtool and amtool")
    for name in ("deploy", "tests"):
        (checkout / name).symlink_to(CHECKOUT / name)
    make(checkout, INSTALLED, f"--old-file={checkout}/.nnlite/prometheus/packages.lock", "monitoring")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_tells_its_arguments(program, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [program, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(program).main()
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out
