"""Tests of the rig: a virtual device behaves like a real one, and shows every fault as adb does.

More than 300 lines: one subject, whose fixtures start and stop the virtual devices.
"""

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import adbutils
import numpy as np
import psutil
import pytest

from device.rig.adb_host import AdbHost
from device.rig.backends import Mode
from device.rig.faults import Fault, Until
from device.rig.rig import Rig, Sdk, frozen, kill, leave_stale_locks, taken
from device.rig.runtimes_process import Runtimes
from nnlite.artifacts.inputs import raw_bytes, seeded_input
from nnlite.reports.schema import Latency, RunReport
from nnlite.vocabulary import Refusal
from nnlite_benchmark.protocol.analysis.statistics import decode_samples, summarize
from nnlite_benchmark.protocol.canary import EXPECTED_FILE, INPUT_SHAPE, MODEL_FILE, SEED
from waiting import HANG_S, NEVER_S, wait_until

PACKAGE = "org.nnlite.benchmark"
FOLDER = "/data/local/tmp/nnlite"
_PORTS = itertools.cycle(range(5586, 5682, 2))
_SERVER_PORTS = itertools.cycle(range(6100, 6400))


class Emulator:
    """A started emulator and an adb host that may see it."""

    def __init__(self, sdk: Sdk, avds: Path, host: AdbHost, name: str, *options: str) -> None:
        self.rig = sdk.avd(name)
        self.port = next(_PORTS)
        self.process = start(sdk, avds, "-avd", name, "-port", str(self.port), *options)
        wait_until(lambda: is_open(self.port + 1) or self.process.poll() is not None, "the emulator listens")
        self.host = host
        self.device = host.announce(self.port + 1)

    def online(self) -> "Emulator":
        self.host.wait_for(self.device, "device")
        return self

    def booted(self) -> "Emulator":
        self.online()
        wait_until(lambda: self.sh("getprop sys.boot_completed") == "1", "the emulator has booted")
        return self

    def sh(self, line: str) -> str:
        return shell(self.device, line).stdout.strip()

    def announced(self) -> "Emulator":
        self.host.announce(self.port + 1)
        return self

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        self.process.communicate(timeout=HANG_S)


def start(sdk: Sdk, avds: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sdk.path / "emulator" / "emulator", *options],
        env={"PATH": "/usr/bin:/bin", "HOME": str(avds), "ANDROID_AVD_HOME": str(avds), "RIG_BOOT_S": "0.05"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end_of(process: "subprocess.Popen[str]") -> tuple[int, str]:
    output, _ = process.communicate(timeout=HANG_S)
    return process.returncode, output


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def shell(device: adbutils.AdbDevice, line: str, timeout_s: float = HANG_S) -> adbutils.ShellReturn:
    return device.shell2(line, timeout=timeout_s, v2=True)


@pytest.fixture(scope="module")
def adb_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a key, which servers share."""
    return tmp_path_factory.mktemp("adb")


@pytest.fixture
def make_host(adb_home: Path) -> Iterator[Callable[[], AdbHost]]:
    hosts: list[AdbHost] = []

    def make() -> AdbHost:
        hosts.append(AdbHost(adb_home, next(_SERVER_PORTS)))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


@pytest.fixture
def host(make_host: Callable[[], AdbHost]) -> AdbHost:
    return make_host()


@pytest.fixture
def sdk(rig: Rig) -> Sdk:
    return rig.make_sdk()


@pytest.fixture
def avds(tmp_path: Path, sdk: Sdk) -> Path:
    """A folder with the AVDs `one` and `two`."""
    home = tmp_path / "avds"
    for name in ("one", "two"):
        sdk.make_avd(home, name)
    return home


@pytest.fixture
def emulate(sdk: Sdk, avds: Path, host: AdbHost) -> Iterator[Callable[..., Emulator]]:
    """Start an emulator: `emulate()`, `emulate("two", "-wipe-data")`."""
    started: list[Emulator] = []

    def make(name: str = "one", *options: str) -> Emulator:
        started.append(Emulator(sdk, avds, host, name, *options))
        return started[-1]

    yield make
    for emulator in started:
        emulator.stop()


@pytest.fixture(scope="module")
def apk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("apk") / "app.apk"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("AndroidManifest.xml", PACKAGE)
    return file


@pytest.fixture
def with_app(emulate: Callable[..., Emulator], apk: Path) -> Emulator:
    """A booted emulator with the app, the canary and its input."""
    emulator = emulate().booted()
    prepare(emulator.device, apk)
    assert shell(emulator.device, f"pm install -r -d --user 0 {FOLDER}/app.apk").output == "Success\n"
    return emulator


def prepare(device: adbutils.AdbDevice, apk: Path) -> None:
    device.sync.push(apk, f"{FOLDER}/app.apk")
    device.sync.push(MODEL_FILE, f"{FOLDER}/canary.tflite")
    device.sync.push(raw_bytes(seeded_input(INPUT_SHAPE, "float32", SEED)), f"{FOLDER}/input.raw")


def instrument(
    device: adbutils.AdbDevice, backend: str = "cpu", timeout_s: float = HANG_S, **changes: str
) -> str:
    arguments = {
        "run": "ab12",
        "model": f"{FOLDER}/canary.tflite",
        "inputs": f"{FOLDER}/input.raw",
        "backend": backend,
        "threads": "1",
        "precision_loss": "false",
        "transfer": "auto",
        "warmup_min_runs": "1",
        "warmup_min_s": "0",
        "warmup_max_s": "1",
        "warmup_agreeing_runs": "0",
        "warmup_tolerance": "0.04",
        "min_runs": "3",
        "min_s": "0",
        "max_s": "5",
        "few_runs": "1",
        "few_runs_max_s": "5",
        **changes,
    }
    extras = " ".join(f"-e {name} {value}" for name, value in arguments.items())
    line = f"am instrument -w -r --user 0 {extras} {PACKAGE}/.BenchmarkInstrumentation"
    return shell(device, line, timeout_s).stdout


def report_of(output: str) -> RunReport:
    assert output.endswith("\nINSTRUMENTATION_CODE: -1\n"), output
    match = re.search("^INSTRUMENTATION_RESULT: report=(.*)$", output, re.MULTILINE)
    assert match is not None
    return RunReport.model_validate_json(match[1])


def test_commands_end_with_their_exit_code_and_both_streams(emulate: Callable[..., Emulator]) -> None:
    device = emulate().online().device
    result = shell(device, "echo out; echo err >&2; exit 7")
    assert (result.returncode, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_files_come_back_as_they_were_pushed(emulate: Callable[..., Emulator]) -> None:
    device = emulate().online().device
    data = np.random.default_rng(0).bytes(3_000_000)
    device.sync.push(data, "/data/local/tmp/nnlite/a.bin")
    assert device.sync.read_bytes("/data/local/tmp/nnlite/a.bin") == data


def test_a_device_identifies_itself_as_a_rig(emulate: Callable[..., Emulator]) -> None:
    emulator = emulate().online()
    properties = emulator.sh("getprop")
    for line in (
        "[ro.product.model]: [rig]",
        "[ro.build.version.sdk]: [30]",
        "[ro.product.cpu.abi]: [x86_64]",
        "[ro.kernel.qemu]: [1]",
    ):
        assert line in properties.splitlines()


def test_the_machines_files_are_read_only(emulate: Callable[..., Emulator], tmp_path: Path) -> None:
    emulator = emulate().online()
    assert "Read-only" in shell(emulator.device, "touch /usr/rig; true").stderr
    assert shell(emulator.device, f"ls {tmp_path}").returncode != 0


def test_two_emulators_share_nothing(emulate: Callable[..., Emulator]) -> None:
    one, two = emulate("one").booted(), emulate("two").booted()
    one.sh("echo secret > /data/local/tmp/file; echo secret > /sdcard/file; setprop rig.mark 1")
    assert two.sh("cat /data/local/tmp/file /sdcard/file") == ""
    assert two.sh("getprop rig.mark") == ""
    assert one.sh("cat /proc/sys/kernel/random/boot_id") != two.sh("cat /proc/sys/kernel/random/boot_id")


def test_the_canary_gives_its_output_and_a_report_that_validates(with_app: Emulator) -> None:
    output = instrument(with_app.device)
    report = report_of(output)
    assert (report.runtime, report.runtime_version) == ("TFLite", "2.16.1")
    assert re.findall("stage=(.*)", output) == ["initialize", "warm-up", "run"]
    assert report.folder == f"/storage/emulated/0/Android/media/{PACKAGE}/ab12"
    (result,) = report.outputs
    computed = np.frombuffer(with_app.device.sync.read_bytes(f"{report.folder}/{result.file}"), "<f4")
    assert computed == pytest.approx(np.frombuffer(EXPECTED_FILE.read_bytes(), "<f4"), rel=1e-4, abs=1e-5)
    assert report.before is not None and report.before.cpuset == "/top-app"


def test_statistics_of_a_report_are_those_of_its_samples(with_app: Emulator) -> None:
    report = report_of(instrument(with_app.device, min_runs="12"))
    samples = decode_samples(report.samples, max_samples=100)
    assert report.runs == samples.size == 12
    expected = summarize(samples)
    assert isinstance(report.latency, Latency)
    assert report.latency.model_dump(exclude_none=True) == pytest.approx(
        expected.model_dump(exclude_none=True), rel=1e-6
    )


def test_other_threads_of_the_app_do_not_advance_the_devices_clock(with_app: Emulator) -> None:
    # Long enough for the one that reads temperatures once a second of this machine.
    report = report_of(instrument(with_app.device, min_runs="200", max_s="60"))
    samples = decode_samples(report.samples, max_samples=1000)
    assert samples.size == 200
    assert samples.max() < 1.1 * samples.min()


def test_delegation_is_in_the_report_and_in_the_apps_log(with_app: Emulator) -> None:
    output = instrument(with_app.device)
    delegation = report_of(output).delegation
    assert delegation is not None and delegation.delegated_nodes == delegation.total_nodes > 0
    pid = re.findall("pid=(.*)", output)[0]
    nodes = delegation.total_nodes
    assert (
        f"Replacing {nodes} out of {nodes} node(s) with delegate (TfLiteXNNPackDelegate) node, "
        "yielding 1 partitions for the whole graph."
    ) in with_app.sh(f"logcat -d -v threadtime --pid={pid}")
    assert "Replacing" not in with_app.sh("logcat -d -v threadtime --pid=1")


def test_a_device_without_gpu_and_npu_refuses_them(with_app: Emulator) -> None:
    gpu, npu = (report_of(instrument(with_app.device, backend)) for backend in ("gpu", "npu"))
    assert (gpu.refusal, gpu.runs) == (Refusal.RUNTIME, None)
    assert gpu.error is not None and "GpuDelegate" in gpu.error, "the app's own delegate"
    assert (npu.refusal, npu.runs) == (Refusal.NOT_DELEGATED, None)


def test_a_gpu_can_be_had_on_request(with_app: Emulator) -> None:
    with_app.rig.backends(gpu=Mode.PARTIAL)
    delegation = report_of(instrument(with_app.device, "gpu")).delegation
    assert delegation is not None and delegation.delegate == "TfLiteGpuDelegateV2"
    assert delegation.delegated_nodes == delegation.total_nodes - 1


def test_outputs_can_be_sent_as_chunks(with_app: Emulator) -> None:
    output = instrument(with_app.device, transfer="status")
    assert report_of(output).folder is None
    assert "INSTRUMENTATION_STATUS: file=output_0.raw\nINSTRUMENTATION_STATUS: piece=0\n" in output
    assert "INSTRUMENTATION_STATUS_CODE: 2\n" in output


def test_bad_arguments_are_an_error_of_the_app(with_app: Emulator) -> None:
    output = instrument(with_app.device, model=f"{FOLDER}/none.tflite")
    assert output.endswith("\nINSTRUMENTATION_CODE: 0\n")
    assert f"INSTRUMENTATION_RESULT: error={FOLDER}/none.tflite cannot be read: " in output


def test_without_the_app_instrument_fails_as_on_android(emulate: Callable[..., Emulator]) -> None:
    result = shell(emulate().booted().device, f"am instrument -w -r {PACKAGE}/.BenchmarkInstrumentation")
    assert result.returncode == 1
    assert "android.util.AndroidException: INSTRUMENTATION_FAILED: " in result.stderr


def test_a_run_by_hand_leaves_its_report_in_a_file(with_app: Emulator) -> None:
    extras = f"--es run ff --es model {FOLDER}/canary.tflite --es inputs {FOLDER}/input.raw --es backend cpu"
    bounds = (
        "--es warmup_min_runs 1 --es warmup_min_s 0 --es warmup_max_s 1 "
        "--es warmup_agreeing_runs 0 --es warmup_tolerance 0.04 --es min_runs 1 --es min_s 0 "
        "--es max_s 1 --es few_runs 1 --es few_runs_max_s 1"
    )
    output = with_app.sh(f"am start -S -W -n {PACKAGE}/.BenchmarkActivity {extras} {bounds}")
    assert output.endswith("Complete")
    line = with_app.sh("logcat -d -s nnlite").splitlines()[-1]
    assert RunReport.model_validate_json(with_app.sh(f"cat {line.split()[-1]}")).runs


def test_an_app_can_be_found_and_stopped(with_app: Emulator) -> None:
    with_app.rig.fault(Fault.APP_HANGS)
    with ThreadPoolExecutor(1) as aside:
        run = aside.submit(instrument, with_app.device)
        pid = wait_until(lambda: with_app.sh(f"pidof {PACKAGE}"), "the app runs")
        assert not run.done()
        with_app.sh(f"am force-stop {PACKAGE}")
        assert "Process crashed." in run.result(HANG_S)
    assert with_app.sh(f"pidof {PACKAGE}; ls -d /proc/{pid}") == ""


def test_a_device_whose_app_hangs_holds_up_no_other(
    emulate: Callable[..., Emulator], with_app: Emulator, apk: Path
) -> None:
    with_app.rig.fault(Fault.APP_HANGS, stage="initialize")
    with ThreadPoolExecutor(1) as aside:
        hung = aside.submit(instrument, with_app.device)
        wait_until(lambda: with_app.sh(f"pidof {PACKAGE}"), "the app runs")
        other = emulate("two").booted()
        prepare(other.device, apk)
        other.sh(f"pm install -r {FOLDER}/app.apk")
        assert report_of(instrument(other.device)).runs
        assert not hung.done()
        with_app.sh(f"am force-stop {PACKAGE}")
        assert "stage=initialize\nINSTRUMENTATION_STATUS_CODE: 1\n" in hung.result(HANG_S)


def test_nothing_is_left_of_the_runtimes_when_their_input_ends() -> None:
    before = set(psutil.Process().children())
    runtimes = Runtimes()
    (process,) = set(psutil.Process().children()) - before
    runtimes.close()
    assert not process.is_running() and not runtimes.folder.exists()


def test_an_installed_app_is_known_by_its_hash_until_data_is_wiped(
    emulate: Callable[..., Emulator], with_app: Emulator, apk: Path
) -> None:
    path = with_app.sh(f"pm path {PACKAGE}").removeprefix("package:")
    assert with_app.device.sync.read_bytes(path) == apk.read_bytes()
    boot = with_app.sh("cat /proc/sys/kernel/random/boot_id")
    with_app.stop()
    again = emulate().booted()
    assert again.sh(f"pm list packages {PACKAGE}") == f"package:{PACKAGE}"
    assert again.sh("cat /proc/sys/kernel/random/boot_id") != boot
    again.stop()
    wiped = emulate("one", "-wipe-data").booted()
    assert wiped.sh(f"pm path {PACKAGE}; ls {FOLDER}") == ""


def test_sigterm_ends_an_emulator_gracefully(emulate: Callable[..., Emulator], avds: Path) -> None:
    emulator = emulate().booted()
    assert sorted(file.name for file in (avds / "one.avd").glob("*.lock"))
    emulator.process.terminate()
    assert emulator.process.wait(HANG_S) == 0
    assert not list((avds / "one.avd").glob("*.lock"))


def test_a_killed_emulator_leaves_no_process(emulate: Callable[..., Emulator], sdk: Sdk, avds: Path) -> None:
    emulator = emulate().booted()
    family = psutil.Process(emulator.process.pid).children(recursive=True)
    assert any("adbd" in " ".join(child.cmdline()) for child in family)
    kill(emulator.process.pid)
    emulator.process.wait(HANG_S)
    gone, alive = psutil.wait_procs(family, HANG_S)
    assert len(gone) == len(family) and not alive
    emulator.host.wait_for(emulator.device, "")
    code, output = end_of(start(sdk, avds, "-avd", "one", "-port", str(emulator.port)))
    assert code == 1 and "Running multiple emulators with the same AVD" in output


def test_an_avd_in_use_or_with_stale_locks_is_refused(
    emulate: Callable[..., Emulator], sdk: Sdk, avds: Path
) -> None:
    emulate("one").online()
    leave_stale_locks(avds / "two.avd")
    refused = [start(sdk, avds, "-avd", name, "-port", "5680") for name in ("one", "two")]
    for process in refused:
        code, output = end_of(process)
        assert code == 1 and "Running multiple emulators with the same AVD" in output
    for file in (avds / "two.avd").glob("*.lock"):
        file.unlink()
    emulate("two").online()


@pytest.mark.parametrize("offset", [0, 1], ids=["console", "adb"])
def test_a_taken_port_is_refused(sdk: Sdk, avds: Path, offset: int) -> None:
    with taken(5680 + offset):
        code, output = end_of(start(sdk, avds, "-avd", "one", "-port", "5680"))
    assert code == 1 and "too many emulator instances are running" in output
    assert not list((avds / "one.avd").glob("*.lock"))


def test_invalid_command_lines_are_rejected_as_by_the_real_emulator(sdk: Sdk, avds: Path) -> None:
    (sdk.path / "system-images/android-30/google_apis/x86_64/system.img").unlink()
    wrong = {
        "PANIC: Unknown AVD name [x], use -list-avds to see valid list.": ("-avd", "x"),
        "unknown option: -fast": ("-avd", "one", "-fast"),
        "PANIC: Broken AVD system path.": ("-avd", "one"),
        "Invalid GPU mode 'fast'": ("-avd", "two", "-gpu", "fast"),
    }
    processes = {message: start(sdk, avds, *options) for message, options in wrong.items()}
    for message, process in processes.items():
        code, output = end_of(process)
        assert code == 1 and message in output


def test_the_emulator_answers_questions(sdk: Sdk, avds: Path) -> None:
    assert end_of(start(sdk, avds, "-list-avds")) == (0, "one\ntwo\n")
    assert end_of(start(sdk, avds, "-accel-check")) == (
        0,
        "accel:\n0\nKVM (version 12) is installed and usable.\naccel\n",
    )
    sdk.acceleration(False)
    assert end_of(start(sdk, avds, "-accel-check"))[0] == 8
    code, output = end_of(start(sdk, avds, "-avd", "one"))
    assert code == 1 and "requires hardware acceleration" in output


def test_the_console_names_the_avd_and_kills_the_emulator(
    emulate: Callable[..., Emulator], avds: Path
) -> None:
    emulator = emulate()
    with socket.create_connection(("127.0.0.1", emulator.port), HANG_S) as console:
        lines = console.makefile("rw", newline="")
        assert lines.readline().startswith("Android Console: Authentication required")
        token = (avds / ".emulator_console_auth_token").read_text()
        lines.write(f"avd name\nauth {token}\nkill\n")
        lines.flush()
        answer = lines.read()
    assert "one\r\nOK\r\n" in answer and "OK: killing emulator, bye bye" in answer
    assert emulator.process.wait(HANG_S) == 0


def test_a_device_serves_one_adb_host_at_a_time(
    emulate: Callable[..., Emulator], make_host: Callable[[], AdbHost]
) -> None:
    emulator, second = emulate().booted(), make_host()
    theirs = second.announce(emulator.port + 1)
    second.wait_for(theirs, "offline")
    assert emulator.sh("echo fine") == "fine"
    emulator.host.close()
    second.wait_for(theirs, "device")


def test_a_frozen_emulator_is_silent_until_it_continues(emulate: Callable[..., Emulator]) -> None:
    emulator = emulate().booted()
    with frozen(emulator.process.pid), pytest.raises(adbutils.AdbTimeout):
        shell(emulator.device, "echo", timeout_s=0.3)
    assert emulator.sh("echo again") == "again"


def test_a_phone_can_be_unplugged_and_rebooted(rig: Rig, host: AdbHost) -> None:
    phone = rig.phone("phone", port=5555)
    device = host.connect(phone.address)
    host.wait_for(device, "device")
    assert shell(device, "getprop ro.kernel.qemu").output.strip() == ""
    boot = shell(device, "cat /proc/sys/kernel/random/boot_id").output
    phone.unplug()
    wait_until(lambda: host.state(device) != "device", "the phone is gone")
    phone.plug()
    host.connect(phone.address)
    host.wait_for(device, "device")
    assert shell(device, "cat /proc/sys/kernel/random/boot_id").output == boot
    with suppress(adbutils.AdbError):
        device.reboot()
    wait_until(lambda: host.state(device) != "device", "the phone reboots")
    host.connect(phone.address)
    host.wait_for(device, "device")
    assert shell(device, "cat /proc/sys/kernel/random/boot_id").output != boot


def test_a_reboot_from_the_shell_keeps_data(emulate: Callable[..., Emulator]) -> None:
    emulator = emulate().booted()
    emulator.sh("echo kept > /data/local/tmp/file")
    boot = emulator.sh("cat /proc/sys/kernel/random/boot_id")
    with suppress(adbutils.AdbError, OSError, EOFError):
        emulator.sh("reboot")
    emulator.host.wait_for(emulator.device, "")
    emulator.announced().booted()
    assert emulator.sh("cat /data/local/tmp/file") == "kept"
    assert emulator.sh("cat /proc/sys/kernel/random/boot_id") != boot


def test_a_phone_reports_battery_temperatures_and_clocks(rig: Rig, host: AdbHost) -> None:
    phone = rig.phone("phone", port=5555)
    device = host.connect(phone.address)
    host.wait_for(device, "device")
    wait_until(lambda: shell(device, "getprop sys.boot_completed").output == "1\n", "booted")
    phone.state(battery_percent=41, battery_c=36.5, charging=False, thermal_status=3)
    battery = shell(device, "dumpsys battery").output
    assert "  level: 41\n" in battery and "  temperature: 365\n" in battery and "AC powered: false" in battery
    assert "Thermal Status: 3\n" in shell(device, "dumpsys thermalservice").output
    assert shell(device, "cat /sys/class/thermal/thermal_zone0/temp").output.strip().isdigit()
    clock = shell(device, "cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").output
    assert clock.strip().isdigit()


def test_a_device_that_never_boots_boots_the_next_time(emulate: Callable[..., Emulator], sdk: Sdk) -> None:
    sdk.avd("one").fault(Fault.NEVER_BOOTS, times=1)
    emulator = emulate().online()
    result = shell(emulator.device, "pm path android")
    assert (result.returncode, result.stderr) == (20, "cmd: Can't find service: package\n")
    assert not sdk.avd("one").faulty(Fault.NEVER_BOOTS)
    emulator.stop()
    emulate().booted()


def test_a_slow_boot_ends(emulate: Callable[..., Emulator], sdk: Sdk) -> None:
    sdk.avd("one").fault(Fault.BOOTS_SLOWLY, seconds=NEVER_S)
    emulator = emulate().online()
    assert emulator.sh("getprop sys.boot_completed") == ""
    emulator.rig.heal(Fault.BOOTS_SLOWLY)
    emulator.booted()


def test_a_boot_animation_can_be_stuck(emulate: Callable[..., Emulator], sdk: Sdk) -> None:
    sdk.avd("one").fault(Fault.BOOT_ANIMATION_STUCK, until=Until.WIPE)
    emulator = emulate().booted()
    assert emulator.sh("getprop init.svc.bootanim") == "running"
    emulator.stop()
    assert emulate("one", "-wipe-data").booted().sh("getprop init.svc.bootanim") == "stopped"


def test_a_dialog_is_closed_by_its_button_or_by_a_restart_only(emulate: Callable[..., Emulator]) -> None:
    emulator = emulate().booted()
    close = "input keyevent KEYCODE_DPAD_DOWN KEYCODE_DPAD_DOWN KEYCODE_ENTER; dumpsys window"
    emulator.rig.fault(Fault.NOT_RESPONDING)
    broadcast = "am broadcast -a android.intent.action.CLOSE_SYSTEM_DIALOGS > /dev/null; dumpsys window"
    assert "Application Not Responding: com.android.systemui}" in emulator.sh(broadcast)
    assert "Not Responding" not in emulator.sh(close)
    emulator.rig.fault(Fault.STAYS_NOT_RESPONDING)
    assert "Not Responding" in emulator.sh(close)
    emulator.stop()
    assert "Not Responding" not in emulate().booted().sh("dumpsys window")


def test_an_offline_device_comes_back(emulate: Callable[..., Emulator]) -> None:
    emulator = emulate().booted()
    emulator.rig.fault(Fault.OFFLINE)
    emulator.host.wait_for(emulator.device, "")
    emulator.announced().host.wait_for(emulator.device, "offline")
    emulator.rig.heal(Fault.OFFLINE)
    emulator.online()


def test_an_offline_device_recovers_with_a_new_connection(
    emulate: Callable[..., Emulator], sdk: Sdk, make_host: Callable[[], AdbHost]
) -> None:
    sdk.avd("one").fault(Fault.OFFLINE, times=1)
    emulator = emulate()
    emulator.host.wait_for(emulator.device, "offline")
    emulator.host.close()
    second = make_host()
    second.wait_for(second.announce(emulator.port + 1), "device")


def test_a_device_can_be_unauthorized(emulate: Callable[..., Emulator], sdk: Sdk) -> None:
    sdk.avd("one").fault(Fault.UNAUTHORIZED, until=Until.RESTART)
    emulator = emulate()
    emulator.host.wait_for(emulator.device, "unauthorized")
    emulator.rig.heal()
    emulator.host.wait_for(emulator.device, "")
    emulator.announced().online()


def test_adbd_can_die_mid_push_and_is_started_again(emulate: Callable[..., Emulator]) -> None:
    emulator = emulate().booted()
    emulator.rig.fault(Fault.DIES_MID_PUSH, times=1)
    data = bytes(1_000_000)
    with pytest.raises((adbutils.AdbError, OSError)):
        emulator.device.sync.push(data, "/data/local/tmp/a.bin")
    emulator.host.wait_for(emulator.device, "")
    emulator.announced().online()
    emulator.device.sync.push(data, "/data/local/tmp/a.bin")
    assert emulator.sh("stat -c %s /data/local/tmp/a.bin") == "1000000"


def test_adbd_can_die_mid_run_while_the_app_goes_on(with_app: Emulator) -> None:
    with_app.rig.fault(Fault.DIES_MID_RUN, times=1)
    with suppress(adbutils.AdbError, OSError, EOFError):
        assert "INSTRUMENTATION_CODE" not in instrument(with_app.device)
    with_app.host.wait_for(with_app.device, "")
    with_app.announced().online()
    wait_until(lambda: with_app.sh(f"pidof {PACKAGE}") == "", "the app has ended")
    assert report_of(instrument(with_app.device)).runs


def test_a_shell_can_hang(emulate: Callable[..., Emulator]) -> None:
    emulator = emulate().booted()
    emulator.rig.fault(Fault.SHELL_HANGS, times=1, command="getprop")
    assert emulator.sh("echo fine") == "fine"
    with ThreadPoolExecutor(1) as aside:
        hung = aside.submit(emulator.sh, "getprop")
        wait_until(lambda: not emulator.rig.faulty(Fault.SHELL_HANGS), "the command has met the fault")
        assert emulator.sh("getprop ro.product.model") == "rig"
        assert not hung.done()
        emulator.stop()


def test_an_app_killed_by_a_signal_leaves_a_tombstone(with_app: Emulator) -> None:
    crash = {"signal": "SIGABRT", "library": "libtensorflowlite_jni.so", "runtime": True}
    with_app.rig.fault(Fault.APP_CRASHES, times=1, **crash)
    output = instrument(with_app.device)
    assert output.endswith("INSTRUMENTATION_RESULT: shortMsg=Process crashed.\nINSTRUMENTATION_CODE: 0\n")
    crash = with_app.sh("logcat -b crash -d -t 200")
    assert "signal 6 (SIGABRT)" in crash and "/libtensorflowlite_jni.so" in crash
    assert report_of(instrument(with_app.device)).runs


def test_a_delegate_can_crash_the_app(with_app: Emulator) -> None:
    with_app.rig.backends(gpu=Mode.WORKS)
    with_app.rig.fault(Fault.DELEGATE_CRASHES, backend="gpu")
    assert report_of(instrument(with_app.device, "cpu")).runs
    assert "Process crashed." in instrument(with_app.device, "gpu")
    crash = with_app.sh("logcat -b crash -d -t 200")
    assert "signal 11 (SIGSEGV)" in crash and "/libtensorflowlite_gpu_jni.so" in crash


def test_every_third_benchmark_fails_and_no_canary(with_app: Emulator) -> None:
    with_app.rig.fault(Fault.APP_CRASHES, every=3, runs="benchmark")
    with_app.sh(f"cat {FOLDER}/canary.tflite > {FOLDER}/other.tflite; echo >> {FOLDER}/other.tflite")
    other = [f"{FOLDER}/other.tflite"] * 6
    crashed = ["crashed" in instrument(with_app.device, model=model) for model in other]
    assert crashed == [False, False, True, False, False, True]
    assert not any("crashed" in instrument(with_app.device) for _ in range(3))


def test_results_can_be_cut_off_or_garbage_or_wrong(with_app: Emulator) -> None:
    for fault in (Fault.RESULT_TRUNCATED, Fault.RESULT_GARBAGE):
        with_app.rig.fault(fault, times=1)
        with pytest.raises(ValueError):
            report_of(instrument(with_app.device))
    with_app.rig.fault(Fault.WRONG_OUTPUT, times=1)
    report = report_of(instrument(with_app.device))
    output = with_app.device.sync.read_bytes(f"{report.folder}/{report.outputs[0].file}")
    assert not np.allclose(np.frombuffer(output, "<f4"), np.frombuffer(EXPECTED_FILE.read_bytes(), "<f4"))


@pytest.mark.parametrize(
    "reason",
    [
        "INSTALL_FAILED_VERSION_DOWNGRADE",
        "INSTALL_PARSE_FAILED_NO_CERTIFICATES",
        "INSTALL_FAILED_NO_MATCHING_ABIS",
    ],
)
def test_an_installation_can_fail_for_a_reason(with_app: Emulator, reason: str) -> None:
    with_app.rig.fault(Fault.INSTALL_FAILS, reason=reason)
    result = shell(with_app.device, f"pm install -r -d --user 0 {FOLDER}/app.apk")
    assert result.returncode == 1 and result.output.startswith(f"Failure [{reason}")


def test_the_remedy_of_a_failed_installation_helps(with_app: Emulator) -> None:
    install = f"pm install -r {FOLDER}/app.apk"
    with_app.rig.fault(Fault.INSTALL_FAILS, reason="INSTALL_FAILED_UPDATE_INCOMPATIBLE")
    assert "INSTALL_FAILED_UPDATE_INCOMPATIBLE" in with_app.sh(install)
    assert with_app.sh(f"pm uninstall {PACKAGE}") == "Success"
    assert with_app.sh(install) == "Success"
    with_app.rig.fault(Fault.INSTALL_FAILS, reason="INSTALL_FAILED_INSUFFICIENT_STORAGE")
    for _ in range(2):
        assert "INSTALL_FAILED_INSUFFICIENT_STORAGE" in with_app.sh(install)
    with_app.sh(f"rm {FOLDER}/*.tflite {FOLDER}/*.raw")
    assert with_app.sh(install) == "Success"


def test_an_invalid_package_is_rejected(with_app: Emulator) -> None:
    with_app.sh(f"echo text > {FOLDER}/app.apk")
    assert "INSTALL_PARSE_FAILED_NOT_APK" in with_app.sh(f"pm install {FOLDER}/app.apk")


def test_a_full_storage_rejects_files(emulate: Callable[..., Emulator]) -> None:
    emulator = emulate().booted()
    emulator.rig.fault(Fault.STORAGE_FULL)
    wait_until(lambda: emulator.sh("df -k /data").split()[-3] == "0", "df says 0")
    wait_until(lambda: "No space" in shell(emulator.device, f"mkdir {FOLDER}").stderr, "it is full")
    with pytest.raises(adbutils.AdbError):  # whose text lacks what adbd said
        emulator.device.sync.push(bytes(100), "/data/local/tmp/a.bin")
    emulator.rig.heal()
    wait_until(lambda: shell(emulator.device, f"mkdir {FOLDER}").returncode == 0, "there is space")


def test_the_clock_can_jump(with_app: Emulator) -> None:
    now = int(with_app.sh("date +%s"))
    with_app.rig.fault(Fault.CLOCK_JUMPS)
    assert now - int(with_app.sh("date +%s")) > 4 * 365 * 86400
    report = report_of(instrument(with_app.device))
    assert report.before is not None and now - report.before.at.timestamp() > 4 * 365 * 86400


def test_a_killed_adb_server_is_a_refused_connection(emulate: Callable[..., Emulator]) -> None:
    emulator = emulate().booted()
    kill(emulator.host.process.pid)
    emulator.host.process.wait(HANG_S)
    assert not is_open(emulator.host.port)


def test_isolation_has_only_a_loopback_and_the_account() -> None:
    lines = subprocess.run(
        [sys.executable, "-m", "device.rig.isolation", "sh", "-c", "cat /proc/net/dev; id -u"],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        cwd=Path(__file__).parents[1],
        check=True,
    ).stdout.split("\n")
    assert [line.split(":")[0].strip() for line in lines if ":" in line] == ["lo"]
    assert lines[-2] == str(os.geteuid())
