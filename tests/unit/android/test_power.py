"""Energy on phones: power rails as AOSP's HAL prints them, the battery's charge, and what comes of both.

No phone was available: the texts are made by the format strings of AOSP's hardware/google/pixel/powerstats.
"""

import pytest

from nnlite.reports.schema import BatterySeries
from nnlite.vocabulary import EnergyMethod
from nnlite_benchmark.android.properties.power import battery_readings, rails_uj, resolution_uj
from unit.android.metered_phone import MeteredPhone, S, report_of

pytestmark = pytest.mark.fast

HAL2 = """\
============= PowerStats HAL 2.0 energy consumers ==============
CPUCL0       :     1234567.00 mWs
       10123 -          12.00 mWs
========== End of PowerStats HAL 2.0 energy consumers ==========

============= PowerStats HAL 2.0 energy meter ==============
                           Channel   Cumulative Energy
                [S10M_VDD_TPU]:TPU           1203.50 mWs
         [S2M_VDD_CPUCL2]:CPU(BIG)         250000.25 mWs
========== End of PowerStats HAL 2.0 energy meter ==========
"""
HAL1 = """\
============= PowerStats HAL 1.0 rail energy data ==============
          Subsys                 Rail   Cumulative Energy
             CPU        S3M_VDD_CPUCL1          98765.43 mWs
         Display          PPVAR_VSYS_D             10.00 mWs
========== End of PowerStats HAL 1.0 rail energy data ==========
"""


def test_the_rails_of_each_version_of_the_hal_are_read():
    cpu, tpu = "[S2M_VDD_CPUCL2]:CPU(BIG)", "[S10M_VDD_TPU]:TPU"
    assert rails_uj(HAL2) == {tpu: 1_203_500, cpu: 250_000_250}
    assert rails_uj(HAL2.replace("\n", "\r\n")) == rails_uj(HAL2)
    assert rails_uj(HAL1) == {"CPU S3M_VDD_CPUCL1": 98_765_430, "Display PPVAR_VSYS_D": 10_000}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Can't find service: android.hardware.power.stats.IPowerStats/default\n",
        "PowerStatsService dumpsys: available Channels\nChannelId: 0, ChannelName: S10M_VDD_TPU\n",
        HAL2.partition("energy meter")[0],
        HAL2.partition("========== End of PowerStats HAL 2.0 energy meter")[0],  # cut off
        HAL2.replace("1203.50 mWs", "nan mWs").replace("250000.25 mWs", "-1.00 mWs"),
        HAL2.replace("1203.50", "9" * 40 + ".00").replace("250000.25", "1e9"),
        "=" * 1_000_000,
        " " * 1_000_000,
        HAL2.replace("1203.50", " " * 1_000_000).replace("250000.25 mWs", "x" * 1_000_000),
    ],
)
def test_what_is_no_table_of_rails_has_none(text):
    assert rails_uj(text) == {}


def test_names_are_printable_and_their_number_is_limited():
    rows = "".join(f"  [\x1b[31mRAIL{number}]:\tX  {number}.00 mWs\n" for number in range(1000))
    rails = rails_uj(HAL2.replace("                           Channel", rows))
    assert len(rails) == 256
    assert all(name.isprintable() for name in rails)


def test_floats_of_24_bits_limit_what_a_difference_says():
    assert resolution_uj({"a": 1.0, "b": 2.0**24 * 100}) == 10 + 100


def series(charges, *, plugged=False, volts=4.0, step_s=10):
    count = len(charges)
    return BatterySeries(
        at_ns=tuple(S * step_s * number for number in range(count)),
        charge_uah=tuple(charges),
        voltage_mv=(volts and round(volts * 1000),) * count,
        plugged=(plugged,) * count,
    )


def test_charge_times_voltage_is_energy():
    readings, resolution = battery_readings(series([3_000_000, 2_999_000, 2_999_000, 2_996_000]))
    # 1 mAh at 4 V is 14.4 J.
    assert readings == [(0.0, 0.0), (10.0, 14.4e6), (20.0, 14.4e6), (30.0, 57.6e6)]
    assert resolution == 14.4e6, "the least step that the counter made"


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (series([3, 2], plugged=True), "was plugged in"),
        (series([3, 2], plugged=None), "was plugged in"),
        (series([None, None]), "no charge counter"),
        (series([3, None]), "no charge counter"),
        (series([3, 2], volts=None), "no charge counter"),
        (series([3]), "no charge counter"),
        (series([]), "no charge counter"),
        (series([3, 3, 3]), "did not fall within 20 s; ask for more"),
        (series([3, 4]), "did not fall within 10 s"),
        (series([3, 2], step_s=0), "did not fall within 0 s"),
        (series([3, 2]).model_copy(update={"at_ns": (S, 0)}), "contradict each other"),
        (series([3, 2, 1]).model_copy(update={"at_ns": (0, S, S)}), "contradict each other"),
        (series([4274, 4273, 4270]), "would mean 0.003 W, too little for a phone: it may count in mAh"),
        (series([9, 1, 8]).model_copy(update={"voltage_mv": (1, 1, 9_000)}), "contradict each other"),
    ],
)
def test_a_battery_that_does_not_tell_has_no_energy(told, why):
    with pytest.raises(ValueError, match=why):
        battery_readings(told)


def counting(text=HAL2):
    """Return the outputs of a phone whose rails count on: 2 W and 0.5 W."""

    def outputs(now_s):
        counted = text.replace("250000.25", f"{250_000.25 + 2e3 * now_s:.2f}")
        return {"hal2": counted.replace("1203.50", f"{1203.5 + 0.5e3 * now_s:.2f}")}

    return outputs


def test_energy_by_rails_is_that_of_all_of_them():
    phone = MeteredPhone(counting())
    energy = phone.pass_of(60).added_to(report_of(series([3_000_000, 2_990_000]))).energy

    assert energy.method is EnergyMethod.RAILS
    assert energy.power_w == pytest.approx(2.5, rel=1e-3)
    assert energy.energy_uj == pytest.approx(25_000, rel=1e-3), "of an inference of 10 ms, pauses included"
    assert energy.energy_low_uj < energy.energy_uj < energy.energy_high_uj
    assert energy.rails_w == pytest.approx(
        {"[S10M_VDD_TPU]:TPU": 0.5, "[S2M_VDD_CPUCL2]:CPU(BIG)": 2}, rel=1e-3
    )
    assert energy.packages is None
    assert phone.asked[0] == ["hal2", "hal1"] and set(map(tuple, phone.asked[1:])) == {("hal2",)}
    assert len(phone.asked) <= 16


def test_without_rails_the_battery_counts_and_is_asked_for_no_more():
    phone = MeteredPhone(counting("Can't find service"))
    charges = [3_000_000 - 1_000 * number for number in range(12)]
    energy = phone.pass_of(60).added_to(report_of(series(charges))).energy

    assert energy.method is EnergyMethod.BATTERY
    assert phone.asked == [["hal2", "hal1"], ["perfetto"]]
    assert energy.power_w == pytest.approx(1.44)
    assert energy.energy_uj == pytest.approx(14_400)
    # As wide as one step of the counter at each end: 2 x 14.4 J in 110 s.
    assert energy.energy_high_uj - energy.energy_uj == pytest.approx(2 * 14.4e6 / 110 / 1e6 * 10_000)


@pytest.mark.parametrize(
    ("battery", "why"),
    [
        (None, "sent no readings"),
        (series([3, 2], plugged=True), "energy by the charge counter needs adb over"),
    ],
)
def test_a_phone_without_a_meter_says_why(battery, why):
    report = MeteredPhone(counting("")).pass_of(10).added_to(report_of(battery))
    assert report.energy is None
    assert "the phone has no power rails" in report.energy_error and why in report.energy_error


def test_a_rail_that_begins_again_or_goes_is_left_out():
    phone = MeteredPhone(counting())
    energy = phone.pass_of(5)
    phone.outputs = counting(HAL2.replace("                [S10M_VDD_TPU]:TPU           1203.50 mWs\n", ""))
    phone.now_s += 5
    energy.note()
    assert set(energy.added_to(report_of()).energy.rails_w) == {"[S2M_VDD_CPUCL2]:CPU(BIG)"}


def test_a_run_that_is_no_pass_stays_as_it_is():
    report = report_of().model_copy(update={"bins": None})
    assert MeteredPhone(counting()).pass_of(5).added_to(report) is report
