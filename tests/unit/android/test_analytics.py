"""Context and state from recorded output of real devices; missing or invalid output gives None.

More than 300 lines: most lines are recorded output of devices.
"""

import subprocess
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlite.errors import Failure, FailureClass
from nnlite.reports.schema import BenchmarkReport, DeviceContext, DeviceState, MeasurementReport
from nnlite.vocabulary import Backend, DeviceKind, Precision, QuietMode, Stage, Verdict
from nnlite_benchmark.android.properties.analytics import (
    CONTEXT_COMMANDS,
    STATE_COMMANDS,
    android_context,
    android_state,
)
from nnlite_benchmark.android.properties.cpuinfo import cpu
from nnlite_benchmark.android.properties.parsers import numbers_of_cpu_list, run_batch
from nnlite_benchmark.android.properties.thermal import zone_degrees, zone_temperatures
from unit.android.recorded_device import device_printing, recorded
from waiting import HANG_S

MEMINFO = "MemTotal:  3631712 kB\nMemFree:   160668 kB\nMemAvailable: 1987920 kB\nCached:  1747812 kB\n"


def context(shell_output):
    return android_context(
        shell_output, name="usb:abc", kind=DeviceKind.PHONE, pool="phones", quiet_mode=QuietMode.OWN_MACHINE
    )


def test_context_of_a_phone():
    pixel = context(recorded("pixel_8"))

    assert pixel.device_type == "Pixel 8"
    assert pixel.os_version == "14 | UQ1A.240105.004"
    assert pixel.machine == "Google Pixel 8"
    assert pixel.soc == "zuma"
    assert pixel.abi == "arm64-v8a"
    assert pixel.api_level == 34
    assert pixel.build_fingerprint == "google/shiba/shiba:14/UQ1A.240105.004/11206848:userdebug/dev-keys"
    assert pixel.cpu.architecture == "aarch64"
    assert pixel.cpu.cores == 9
    assert pixel.cpu.vendor == "ARM"
    assert pixel.cpu.model == "4 x Cortex-A510 + 4 x Cortex-A715 + 1 x Cortex-X3"
    assert {"asimd", "sve2", "i8mm"} <= set(pixel.cpu.features)
    assert len(pixel.cpu.features) == 45


def test_state_of_a_phone_has_the_frequency_of_every_core():
    state = android_state(recorded("pixel_8"))

    assert state.governor == "sched_pixel"
    assert state.frequencies_khz[0] == 1197000
    assert len(state.frequencies_khz) == 9
    assert state.frequency_khz == sum(state.frequencies_khz) // 9
    assert state.free_ram_kb is state.load_1m is state.thermal_status is state.battery_percent is None


def test_cores_of_two_vendors_are_named_and_an_unknown_part_stays_a_number():
    mate = context(recorded("huawei_mate_20"))

    assert mate.cpu.vendor == "ARM, HiSilicon"
    assert mate.cpu.model == "4 x Cortex-A55 + 4 x Cortex-A76"
    # As nnlite's reference wrote it for another phone of this maker: `10 | HUAWEISTK-L21`.
    assert mate.os_version == "9 | HUAWEIHMA-L29"
    assert (mate.device_type, mate.soc) == ("HMA-L29", "kirin980")


def test_frequencies_without_a_readable_governor_are_kept():
    state = android_state(recorded("huawei_mate_20"))

    assert state.frequencies_khz == (830000, 830000)
    assert state.governor is None


def test_cores_of_one_vendor_with_two_part_numbers():
    s7 = context(recorded("galaxy_s7_us"))

    assert s7.cpu.cores == 4
    assert s7.cpu.vendor == "Qualcomm"
    assert s7.cpu.model == "4 x Kryo"
    assert s7.cpu.features[-1] == "crc32"


def test_the_header_of_older_kernels_is_not_counted_as_a_core():
    sd730 = context(recorded("snapdragon_730"))

    assert sd730.cpu.cores == 5
    assert sd730.cpu.model == "5 x Kryo-4XX-Silver"


def test_an_x86_processor_has_its_name_and_flags():
    box = context(recorded("virtualbox_x86_64"))

    assert box.cpu.vendor == "GenuineIntel"
    assert box.cpu.model == "Intel(R) Core(TM) i5-8300H CPU @ 2.30GHz"
    assert box.cpu.cores == 2
    assert {"sse4_2", "avx2", "hypervisor"} <= set(box.cpu.features)


def test_crlf_line_ends_change_no_property():
    xl = context(recorded("pixel_3_xl"))

    assert xl.build_fingerprint == "google/crosshatch/crosshatch:9/PQ3A.190801.002/5670241:user/release-keys"
    assert xl.os_version == "PQ3A.190801.002"
    assert xl.device_type == "unknown"
    assert xl.machine is None


def test_properties_of_the_system_partition_are_the_fallback():
    emulator = context(recorded("emulator_api_29"))

    assert emulator.device_type == "Android SDK built for x86"
    assert emulator.machine == "Google Android SDK built for x86"
    assert emulator.os_version == "10 | QSR1.190920.001"
    assert emulator.api_level == 29
    assert emulator.build_fingerprint.startswith("google/sdk_gphone_x86/generic_x86:10/")


@pytest.mark.parametrize("name", ["ro.boot.qemu", "ro.kernel.qemu"])
def test_an_emulator_on_tcp_is_not_taken_for_a_phone(name):
    assert context(device_printing({"properties": f"[{name}]: [1]\n"})).kind is DeviceKind.EMULATOR
    assert context(device_printing({"properties": f"[{name}]: [0]\n"})).kind is DeviceKind.PHONE


def test_unknown_properties_give_none():
    emulator = context(recorded("emulator_api_33"))

    assert (emulator.device_type, emulator.os_version) == ("unknown", "unknown")
    assert emulator.api_level is emulator.soc is emulator.abi is emulator.build_fingerprint is None


@pytest.mark.parametrize("device", ["redmagic_7", "pixel_c", "samsung_full", "shield_tv_pro_2019"])
def test_missing_outputs_give_none(device):
    assert context(recorded(device)).device_type == "unknown"
    assert android_state(recorded(device)).load_1m is None


def test_current_temperatures_of_the_thermal_service_without_zeros():
    state = android_state(recorded("galaxy_a52_5g"))

    assert state.thermal_status == 0
    assert state.temperatures_c == {
        "hal AP": 25.6,
        "hal BAT": 23.8,
        "hal LRB": 24.7,
        "hal LRF": 24.7,
        "hal LRP": 24.7,
        "hal PA": 25.7,
    }


def test_cached_temperatures_are_ignored():
    state = android_state(recorded("shield_tv_pro_2019"))

    assert state.thermal_status == 0
    assert state.temperatures_c == {}


@pytest.mark.parametrize(
    ("device", "percent", "charging", "celsius"),
    [
        pytest.param("samsung_full", 100.0, True, 30.9, id="full, on a charger"),
        pytest.param("pixel_c", 19.0, True, 27.5, id="being charged"),
        pytest.param("android_15_not_charging", 80.0, False, 18.0, id="held at 80 per cent by its phone"),
        # Charging by the phone's own status, at its limit; HyperOS prints other lines between the fields.
        pytest.param("redmi_note_14", 80.0, True, 36.4, id="of HyperOS"),
    ],
)
def test_a_battery_has_a_level_a_temperature_and_whether_it_is_charging(device, percent, charging, celsius):
    state = android_state(recorded(device))

    assert (state.battery_percent, state.charging) == (percent, charging)
    assert state.temperatures_c == {"battery": celsius}


def test_an_emulators_battery_has_no_temperature():
    state = android_state(recorded("emulator_old"))

    assert (state.battery_percent, state.temperatures_c) == (89.0, {})


def test_a_normal_device_has_all_analytics_of_nn_dataset():
    # Invented: recorded answers of several devices put together.
    shell_output = device_printing(
        {
            "meminfo": MEMINFO,
            "cpuinfo": "processor : 0\nFeatures : fp asimd\nCPU implementer : 0x41\nCPU part : 0xd05\n",
            "machine": "aarch64\n",
            "kernel": "Linux 5.15.110-android14-11-ga6d7915820a0-ab10726252\n",
            "boot_id": "0b0e9107-a5c3-4a4c-9bd0-2d2c51c0b2f1\n",
            "loadavg": "3.43 3.26 3.17 2/3019 8131\n",
        }
    )
    device, before = context(shell_output), android_state(shell_output)
    measurement = MeasurementReport(
        backend=Backend.CPU,
        precision=Precision.FP32,
        verdict=Verdict.INVALID,
        started_at=datetime(2026, 1, 2, tzinfo=UTC),
        runtime="TFLite",
        runtime_version="2.16.1",
        threads=1,
        stage=Stage.RUN,
        before=before,
    )
    report = BenchmarkReport.of(
        model_name="AirNet", artifact_sha256="a" * 64, device=device, measurements=(measurement,)
    )

    memory = report.device_analytics.memory
    assert (memory.total_ram, memory.free_ram) == (3631712, 160668)
    assert (memory.available_ram, memory.cached) == (1987920, 1747812)
    assert report.device_analytics.cpu.model_dump(exclude={"arm", "processors"}) == {
        "architecture": "aarch64",
        "cores": 1,
        "vendor": "ARM",
        "features": ("fp", "asimd"),
        "model": "1 x Cortex-A55",
    }
    assert device.kernel == "Linux 5.15.110-android14-11-ga6d7915820a0-ab10726252"
    assert device.boot_id == "0b0e9107-a5c3-4a4c-9bd0-2d2c51c0b2f1"
    assert before.load_1m == 3.43


def test_timestamps_are_of_the_hosts_clock():
    begin = datetime.now(UTC)
    state = android_state(device_printing({"date": "Thu Jan  1 00:00:00 GMT 1970"}))

    assert begin <= state.at <= datetime.now(UTC)


def test_context_and_state_take_one_round_trip_each():
    lines = []
    shell_output = device_printing({})

    def counted(line):
        lines.append(line)
        return shell_output(line)

    context(counted)
    android_state(counted)

    assert len(lines) == 2


def test_a_device_failure_is_propagated():
    def dead(line):
        raise Failure(FailureClass.DEVICE, Stage.PREPARE, "usb:abc does not answer")

    with pytest.raises(Failure, match="does not answer"):
        context(dead)
    with pytest.raises(Failure, match="does not answer"):
        android_state(dead)


def sh(line):
    done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=HANG_S, check=False)
    return done.stdout.decode("utf-8", "replace")


@pytest.mark.process
def test_the_command_lines_run_in_a_shell_and_missing_commands_print_nothing():
    here = run_batch(sh, CONTEXT_COMMANDS)
    state = run_batch(sh, STATE_COMMANDS)

    assert here["kernel"].startswith("Linux ")
    assert "MemTotal:" in here["meminfo"] and "MemTotal:" in state["meminfo"]
    assert state["battery"].strip() == ""
    assert android_state(sh).free_ram_kb > 0
    assert context(sh).total_ram_kb > 0


@pytest.mark.process
def test_error_messages_of_the_shell_are_no_output():
    def mixed(line):
        done = subprocess.run(
            ["sh", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=HANG_S, check=False
        )
        return done.stdout.decode()

    assert run_batch(mixed, {"a": "nnlite-no-such-program", "b": "echo yes"}) == {"a": "\n", "b": "yes\n"}


@pytest.mark.process
def test_output_without_a_final_line_end_is_separated():
    assert run_batch(sh, {"a": "printf x", "b": "printf y"}) == {"a": "x\n", "b": "y"}


def test_output_with_crlf_line_ends_is_separated():
    shell_output = device_printing({"a": "x\n", "b": "y\n"})

    assert run_batch(lambda line: shell_output(line).replace("\n", "\r\n"), {"a": "", "b": ""}) == {
        "a": "x\n\n",
        "b": "y\n",
    }


@pytest.mark.process
def test_a_single_file_is_printed_with_its_path(tmp_path):
    folder = tmp_path / "cpu0" / "cpufreq"
    folder.mkdir(parents=True)
    (folder / "scaling_cur_freq").write_text("300000\n")
    line = STATE_COMMANDS["frequencies"].replace("/sys/devices/system/cpu", str(tmp_path))

    assert sh(line) == f"{folder}/scaling_cur_freq:300000\n"


@pytest.mark.process
def test_files_are_printed_with_their_paths(tmp_path):
    for core, value in (("cpu0", "300000\n"), ("cpu10", ""), ("cpu2", "Permission denied\n")):
        folder = tmp_path / core / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(value)
    line = STATE_COMMANDS["frequencies"].replace("/sys/devices/system/cpu", str(tmp_path))

    printed = sh(line)

    assert printed.splitlines()[0] == f"{tmp_path}/cpu0/cpufreq/scaling_cur_freq:300000"
    assert android_state(device_printing({"frequencies": printed})).frequencies_khz == (300000,)


# Invented from here on: what devices answer that lack files or have lost their mind.


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "cat: /proc/x: Permission denied\n",
        "/system/bin/sh: getprop: inaccessible or not found\n",
        "cat: /proc/x: No such file or directory\n",
        "Can't find service: battery\n",
        "\0\x01\xff\ufffd" * 100,
        "x" * 2_000_000,
        "9" * 5000 + "\n",
        # A search that begins again at each of a million places would take hours.
        "[" * 1_000_000,
        "[\n" * 500_000,
        ":\n" * 1000,
        "\n" * 1_000_000,
        " " * 1_000_000,
        "a: 1 kB" + "\n" * 1_000_000,
        "/cpu1" * 200_000,
    ],
)
def test_invalid_output_gives_none(nonsense):
    everything = dict.fromkeys({*CONTEXT_COMMANDS, *STATE_COMMANDS}, nonsense)
    device, state = context(device_printing(everything)), android_state(device_printing(everything))

    assert (device.device_type, device.os_version, device.total_ram_kb) == ("unknown", "unknown", 0)
    assert (device.cpu.architecture, device.cpu.cores, device.cpu.vendor) == ("unknown", 0, None)
    assert device.kernel is device.boot_id is device.machine is device.soc is device.api_level is None
    unknown = {"at", "frequencies_khz", "temperatures_c"}
    assert all(getattr(state, name) is None for name in DeviceState.model_fields if name not in unknown)
    assert (state.frequencies_khz, state.temperatures_c) == ((), {})


def test_empty_output_gives_none():
    assert context(lambda line: "").device_type == "unknown"
    assert android_state(lambda line: "error: closed").free_ram_kb is None


def test_an_offline_core_has_no_frequency():
    lines = "".join(
        f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq:{khz}\n"
        for core, khz in ((3, 3), (0, 1), (4095, 7), (4096, 8), (1, 0), (5, 99999999))
    )
    state = android_state(device_printing({"frequencies": lines}))

    assert state.frequencies_khz[:4] == (1, None, None, 3)
    assert len(state.frequencies_khz) == 4096
    assert state.frequency_khz == (1 + 3 + 7) // 3


def test_governors_are_listed_without_duplicates():
    lines = "".join(
        f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor:{name}\n"
        for core, name in enumerate(["walt", "walt", "performance", "<garbage>"])
    )

    assert android_state(device_printing({"governors": lines})).governor == "performance,walt"


def test_thermal_zones_in_thousandths_and_in_degrees():
    zone = "/sys/class/thermal/thermal_zone"
    lines = (
        f"{zone}10/temp:41000\n{zone}10/type:cpu-0-0-usr\n{zone}2/type:battery\n{zone}2/temp:31\n"
        f"{zone}3/temp:-40000\n{zone}4/temp:-273000\n{zone}5/temp:0\n{zone}6/temp:bad\n{zone}7/temp:300\n"
    )

    assert android_state(device_printing({"zones": lines})).temperatures_c == {
        "thermal_zone2 battery": 31.0,
        "thermal_zone10 cpu-0-0-usr": 41.0,
    }


@pytest.mark.parametrize(
    ("number", "degrees"), [(36500, 36.5), (36, 36.0), (999, None), (155_000, None), (0, None), (1000, 1.0)]
)
def test_the_unit_of_a_thermal_zone_follows_from_its_magnitude(number, degrees):
    assert zone_degrees(number) == degrees


def test_volts_and_percent_are_not_temperatures():
    text = (
        "Thermal Status: 7\nCurrent temperatures from HAL:\n"
        "\tTemperature{mValue=4.1, mType=6, mName=vbat, mStatus=0}\n"
        "\tTemperature{mValue=35.0, mType=-1, mName=virtual, mStatus=0}\n"
        "\tTemperature{mValue=NaN, mType=3, mName=skin, mStatus=0}\n"
        "\tTemperature{mValue=40.5, mType=9, mName=npu, mStatus=0}\n"
        "Current cooling devices from HAL:\n"
        "\tTemperature{mValue=40.5, mType=0, mName=fan, mStatus=0}\n"
    )
    state = android_state(device_printing({"thermal": text}))

    assert state.temperatures_c == {"hal npu": 40.5}
    assert state.thermal_status is None


def test_the_number_of_temperatures_is_limited():
    lines = "".join(f"/sys/class/thermal/thermal_zone{zone}/temp:30000\n" for zone in range(500))
    battery = "present: true\ntemperature: 250\n"
    state = android_state(device_printing({"zones": lines, "battery": battery}))

    assert len(state.temperatures_c) == 64
    assert state.temperatures_c["battery"] == 25.0


@pytest.mark.parametrize(
    ("text", "percent", "charging"),
    [
        ("present: false\nlevel: 50\nscale: 100\nstatus: 2\n", None, None),
        ("present: true\nlevel: 50\nscale: 0\nstatus: 1\n", None, None),
        ("present: true\nlevel: -1\nscale: -1\nstatus: 3\n", None, False),
        ("present: true\nlevel: 101\nscale: 100\nstatus: 4\n", None, False),
        ("present: true\nlevel: 25\nscale: 50\nstatus: 2\nlevel: 1\n", 50.0, True),
        ("present: true\nlevel: 99999999999999\nstatus: x\n", None, None),
    ],
)
def test_an_inconsistent_battery_gives_none(text, percent, charging):
    state = android_state(device_printing({"battery": text}))

    assert (state.battery_percent, state.charging) == (percent, charging)


def test_a_multi_line_property_hides_no_other():
    properties = (
        "[persist.sys.boot]: [reboot,1\nreboot,2\n]\n[ro.product.model]: [Pixel [8] pro]\n[ro.x]: []\n"
    )

    assert context(device_printing({"properties": properties})).device_type == "Pixel [8] pro"


def test_unprintable_characters_are_removed():
    properties = "[ro.product.model]: [Pix\0el\x07 8\x1b]\n"

    assert context(device_printing({"properties": properties})).device_type == "Pixel 8"


def test_the_value_unknown_is_none():
    properties = "[ro.soc.model]: [unknown]\n[ro.board.platform]: []\n[ro.hardware]: [ranchu]\n"

    assert context(device_printing({"properties": properties})).soc == "ranchu"


def test_the_kernels_list_of_cores_has_precedence_over_cpuinfo():
    two = "processor : 0\n\nprocessor : 1\n"

    assert cpu(two, online="0-7", machine=None, abi=None).cores == 8
    assert cpu(two, online="nonsense", machine=None, abi=None).cores == 2


def test_a_long_model_name_is_truncated():
    properties = f"[ro.product.model]: [{'x' * 5000}]\n[ro.build.version.release]: [{'9' * 400}]\n"

    assert len(context(device_printing({"properties": properties})).device_type) == 300


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0-3,5", (0, 1, 2, 3, 5)),
        ("0", (0,)),
        ("3-0", None),
        ("", None),
        (None, None),
        ("0-9999", None),
        ("a", None),
        ("0-3,", None),
    ],
)
def test_lists_of_processors(text, numbers):
    assert numbers_of_cpu_list(text) == numbers


TEXT = st.text(max_size=300)
CPU_LINES = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(
                ["processor", "Features", "flags", "CPU implementer", "CPU part", "Processor", "vendor_id"]
            ),
            st.one_of(TEXT, st.sampled_from(["0", "1", "0x41", "0xd05", "fp asimd", "0xzz", "-1"])),
        ).map(": ".join),
        TEXT,
        st.just(""),
    ),
    max_size=40,
).map("\n".join)


@given(CPU_LINES, st.none() | TEXT, st.none() | TEXT, st.none() | TEXT)
def test_any_cpuinfo_gives_a_processor(text, online, machine, abi):
    result = cpu(text, online=online, machine=machine, abi=abi)

    assert 0 <= result.cores <= 4096


@given(st.dictionaries(st.sampled_from([*CONTEXT_COMMANDS, *STATE_COMMANDS]), st.one_of(TEXT, CPU_LINES)))
def test_any_outputs_give_a_valid_context_and_state(answers):
    device, state = context(device_printing(answers)), android_state(device_printing(answers))

    assert DeviceContext.model_validate_json(device.model_dump_json()) == device
    assert DeviceState.model_validate_json(state.model_dump_json()) == state


@given(st.text())
def test_any_output_gives_a_valid_context_and_state(output):
    assert context(lambda line: output).name == "usb:abc"
    assert android_state(lambda line: output).at is not None


NUMBERS = st.one_of(st.integers(), st.floats(), TEXT)


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_any_numbers_give_a_valid_state(one, two, three, four):
    answers = {
        "meminfo": f"MemFree: {one} kB\nCached: {two} kB\n",
        "loadavg": f"{one} {two} {three} 1/2 3\n",
        "frequencies": f"/sys/devices/system/cpu/cpu{one}/cpufreq/scaling_cur_freq:{two}\n",
        "zones": f"/sys/thermal_zone{one}/temp:{two}\n/sys/thermal_zone1/temp:{three}\n",
        "battery": f"present: true\nlevel: {one}\nscale: {two}\nstatus: {three}\ntemperature: {four}\n",
        "thermal": f"Thermal Status: {one}\nCurrent temperatures from HAL:\n"
        f"Temperature{{mValue={two}, mType={three}, mName={four}, mStatus=0}}\n",
    }
    state = android_state(device_printing(answers))

    assert DeviceState.model_validate_json(state.model_dump_json()) == state


def test_zones_of_qualcomms_power_management_are_no_temperatures():
    # `socd` and `*trip*` are named by owners of other phones; the recorded ones have none.
    zones = {"socd": 28, "cpu-1-7-trip": 95, "soc-thermal": 41000}
    text = "".join(
        f"/sys/class/thermal/thermal_zone{zone}/type:{name}\n/sys/class/thermal/thermal_zone{zone}/temp:{value}\n"
        for zone, (name, value) in enumerate(zones.items())
    )

    assert zone_temperatures(text) == {"thermal_zone2 soc-thermal": 41.0}
    assert android_state(recorded("pm5100")).temperatures_c == {"thermal_zone0 pm5100-tz": 32.086}
    assert android_state(recorded("retroid_pocket_5")).temperatures_c == {
        "thermal_zone0 aoss0-usr": 26.9,
        "thermal_zone1 cpu-0-0-usr": 29.2,
        "thermal_zone2 cpu-1-4-usr": 32.6,
        "thermal_zone3 gpuss-0-usr": 27.3,
        "thermal_zone4 cpu-1-5-step": 33.4,
        "thermal_zone5 pm8150_tz": 29.801,
        "thermal_zone6 pm8150b_tz": 26.59,
        "thermal_zone14 pm8150l_tz": 31.359,
        "thermal_zone17 xo-therm-usr": 28.423,
        "thermal_zone18 skin-therm-usr": 28.652,
        "thermal_zone22 gpu-skin-avg-step": 7.6,
        "thermal_zone23 bms": 25.5,
        "thermal_zone24 battery": 25.5,
    }


def test_zones_in_tenths_of_degrees_are_left_out_as_is_an_absent_sensor_in_whole_ones():
    assert android_state(recorded("msm8953")).temperatures_c == {
        "thermal_zone0 bms": 25.0,
        "thermal_zone2 xo_therm": 31.0,
        "thermal_zone21 pm8953_tz": 32.636,
    }
