"""The units for a lab without Docker are ones that systemd takes, and agree with the settings."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nnlite.settings import Settings, all_settings
from waiting import HANG_S

UNITS = Path(__file__).parents[3] / "deploy" / "systemd"
COMMON = (UNITS / "nnlite-.service.d" / "common.conf").read_text()


def value(text: str, key: str) -> str:
    (value,) = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
    return value


@pytest.mark.process
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd")
def test_systemd_verifies_the_units_without_a_message(tmp_path):
    shutil.copytree(UNITS, tmp_path, dirs_exist_ok=True)
    units = [*sorted(tmp_path.glob("*.service")), *tmp_path.glob("*.timer"), tmp_path / "nnlite.target"]
    for unit in units:
        unit.write_text(unit.read_text().replace("/opt/nnlite/bin/nnlite", "/bin/true"))

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )

    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_stop_timeout_is_long_enough_for_a_graceful_shutdown():
    assert float(value(COMMON, "TimeoutStopSec")) >= 2 * Settings(_env_file=None).queue.stop_timeout_s


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda unit: unit.stem)
def test_variables_of_the_units_are_settings(unit):
    named = set(re.findall(r"NNLITE_\w+(?==)", COMMON + unit.read_text()))

    assert named <= all_settings().keys()


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda unit: unit.stem)
def test_no_unit_sets_an_option_that_the_common_drop_in_overrides(unit):
    # systemd reads the common part after the unit; these add to what is there.
    lists = {"Environment", "EnvironmentFile", "LoadCredential"}
    common, own = (set(re.findall(r"^(\w+)=", text, re.MULTILINE)) for text in (COMMON, unit.read_text()))

    assert (common & own) - lists == set()
