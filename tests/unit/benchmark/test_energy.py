"""Energy from RAPL's counters, read from a tree of files as Linux's powercap has them."""

from dataclasses import replace

import pytest

from nnlite.reports.schema import Bins
from nnlite.vocabulary import Stage
from nnlite_benchmark.host.energy import PackageEnergy
from nnlite_benchmark.protocol.measuring import refused_run

RANGE_UJ = 262_143_328_850


class Machine:
    """A powercap tree and a clock; both advance together."""

    def __init__(self, root):
        self.root, self.now_s = root, 0.0

    def zone(self, name, kind, energy_uj=0):
        folder = self.root / name
        folder.mkdir()
        for file, content in (("name", kind), ("max_energy_range_uj", RANGE_UJ), ("energy_uj", energy_uj)):
            (folder / file).write_text(f"{content}\n")

    def use(self, name, energy_uj):
        file = self.root / name / "energy_uj"
        file.write_text(str((int(file.read_text()) + energy_uj) % (RANGE_UJ + 1)))

    def meter(self):
        return PackageEnergy(self.root, lambda: self.now_s)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def run(machine, meter, steps_uj, stage=Stage.RUN, zone="intel-rapl:0"):
    """Note the counters at the start, and after each tenth of a second with its energy."""
    meter.note(stage)
    for energy_uj in steps_uj:
        machine.use(zone, energy_uj)
        machine.now_s += 0.1
        meter.note(stage)


def test_energy_of_an_inference_is_mean_power_times_its_duration(machine):
    machine.zone("intel-rapl:0", "package-0")
    meter = machine.meter()
    run(machine, meter, [1_000_000, 2_000_000] * 10)  # 10 and 20 W
    energy = meter.summary(4_000_000)
    assert (energy.packages, energy.seconds) == (1, pytest.approx(2))
    assert energy.power_w == pytest.approx(15)
    assert energy.energy_uj == pytest.approx(60_000)
    # Each part of the run has both powers.
    assert (energy.energy_low_uj, energy.energy_high_uj) == (pytest.approx(60_000), pytest.approx(60_000))


def test_a_pass_that_was_read_once_is_read_again_when_it_has_ended(machine):
    machine.zone("intel-rapl:0", "package-0")
    meter = machine.meter()
    run(machine, meter, [])
    machine.use("intel-rapl:0", 30_000_000)
    machine.now_s += 2
    bins = Bins(end_ns=(2_000_000_000,), runs=(500,), median_ns=(4_000_000,))
    report = refused_run("", threads=1).report.model_copy(update={"bins": bins})
    measured = meter.added_to(replace(refused_run("", threads=1), report=report))
    assert measured.report.energy.energy_uj == pytest.approx(60_000)


def test_the_interval_is_as_wide_as_the_power_varies(machine):
    machine.zone("intel-rapl:0", "package-0")
    meter = machine.meter()
    run(machine, meter, [energy for watts in (10, 20, 10, 20, 10) for energy in [watts * 100_000] * 4])
    energy = meter.summary(1_000_000)
    # Standard deviation 5.477 W, of the mean of five 2.449 W, times Student's 2.776.
    assert energy.energy_uj == pytest.approx(14_000)
    assert energy.energy_high_uj - energy.energy_uj == pytest.approx(6_800, rel=1e-3)
    assert energy.energy_uj - energy.energy_low_uj == pytest.approx(6_800, rel=1e-3)


def test_a_counter_that_wraps_goes_on(machine):
    machine.zone("intel-rapl:0", "package-0", RANGE_UJ - 499_999)
    meter = machine.meter()
    run(machine, meter, [1_000_000] * 4)
    assert meter.summary(1_000).power_w == pytest.approx(10)


def test_packages_are_added_and_their_parts_and_the_platform_are_not(machine):
    for name, kind in (
        ("intel-rapl:0", "package-0"), ("intel-rapl:1", "package-1"), ("intel-rapl:2", "psys"),
        ("intel-rapl:0:0", "core"), ("intel-rapl-mmio:0", "package-0"),
    ):  # fmt: skip
        machine.zone(name, kind)
    meter = machine.meter()
    for name in ("intel-rapl:1", "intel-rapl:2", "intel-rapl:0:0"):
        machine.use(name, 0)
    meter.note(Stage.RUN)
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:2", "intel-rapl:0:0", "intel-rapl-mmio:0"):
        machine.use(name, 500_000)
    machine.now_s += 0.1
    meter.note(Stage.RUN)
    energy = meter.summary(1_000)
    assert (energy.packages, energy.power_w) == (2, pytest.approx(10))


def test_only_the_timed_runs_count(machine):
    machine.zone("intel-rapl:0", "package-0")
    meter = machine.meter()
    run(machine, meter, [9_000_000] * 5, stage=Stage.WARM_UP)
    run(machine, meter, [1_000_000] * 2)
    assert meter.summary(1_000).power_w == pytest.approx(10)


def test_few_readings_have_no_interval_and_one_has_no_energy(machine):
    machine.zone("intel-rapl:0", "package-0")
    meter = machine.meter()
    meter.note(Stage.RUN)
    assert meter.summary(1_000) is None
    run(machine, meter, [1_000_000] * 5)
    energy = meter.summary(1_000)
    assert energy.energy_uj > 0
    assert energy.energy_low_uj is energy.energy_high_uj is None


def test_a_machine_without_counters_has_no_energy(machine, tmp_path):
    meter = PackageEnergy(tmp_path / "absent")
    meter.note(Stage.RUN)
    assert meter.summary(1_000) is None
    machine.zone("intel-rapl:0", "package-0")
    meter = machine.meter()
    meter.note(Stage.RUN)
    (machine.root / "intel-rapl:0/energy_uj").unlink()
    machine.now_s += 1
    meter.note(Stage.RUN)
    assert meter.summary(1_000) is None, "a counter that can no longer be read"
