"""Parts of the Android worker over a real adb server: server, client, shell, files, app, runs.

More than 300 lines: all tests share one booted device and the app installed on it.
"""

import json
import multiprocessing
import os
import shlex
import subprocess
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import adbutils
import psutil
import pytest

from descriptors import open_descriptors
from device.rig.faults import Fault
from device.rig.rig import Rig, RigDevice, frozen
from device.rig.runtimes_process import shared
from nnlite.errors import Stopped
from nnlite.settings import Settings
from nnlite.settings.groups import AndroidSettings, EmulatorSettings
from nnlite.vocabulary import Backend, Stage
from nnlite.vocabulary import Fault as Incident
from nnlite_benchmark.android.adb import shell as shell_module
from nnlite_benchmark.android.adb.client import AdbClient
from nnlite_benchmark.android.adb.files import FOLDER, DeviceFiles
from nnlite_benchmark.android.adb.server import AdbServer
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.android.adb.transport import DeviceTransport, Phone
from nnlite_benchmark.android.app import run as run_module
from nnlite_benchmark.android.app import run_monitor
from nnlite_benchmark.android.app.app import PACKAGE, App
from nnlite_benchmark.android.app.request import RunRequest, Transfer
from nnlite_benchmark.android.app.run import AppRuns
from nnlite_benchmark.android.emulator.emulator import Emulator
from nnlite_benchmark.android.readiness import Readiness
from nnlite_benchmark.device import DeviceFailure
from nnlite_benchmark.protocol.measuring import CANARY_JOB
from nnlite_benchmark.protocol.run_plan import RunPlan
from nnlite_benchmark.protocol.runs import Bounds
from waiting import HANG_S, NEVER_S, end, wait_until

NEVER = threading.Event()
BOUNDS = Bounds(
    warmup_min_runs=1,
    warmup_min_s=0,
    warmup_max_s=1,
    warmup_agreeing_runs=0,
    warmup_tolerance=0.04,
    min_runs=2,
    min_s=0,
    max_s=2,
    few_runs=1,
    few_runs_max_s=2,
)
MEDIA = f"/storage/emulated/0/Android/media/{PACKAGE}"


def readiness(shell: Shell, settings: Settings, transport: DeviceTransport, client: AdbClient) -> Readiness:
    return Readiness(
        shell,
        settings.android,
        announce=lambda: transport.announce(client),
        absent_hint=transport.absent_hint,
        check_alive=transport.check,
        stop=NEVER,
    )


@dataclass
class Bench:
    """One emulator, ready, and everything to speak to it; nothing of a worker."""

    settings: Settings
    rig: RigDevice
    server: AdbServer
    emulator: Emulator
    folder: Path

    def shell(self, stop: threading.Event = NEVER, **android: float) -> Shell:
        settings = self.settings.android.model_copy(update=android)
        return Shell(self.server.client, self.emulator.serial, settings, stop)

    def app(self, shell: Shell) -> App:
        return App(shell, self.folder / "app.apk", self.settings.android)

    def runs(
        self, shell: Shell | None = None, on_stage: Callable[[Stage], None] = lambda _: None, **android: str
    ) -> AppRuns:
        shell = shell or self.shell()
        android_settings = self.settings.android.model_copy(update=android)
        settings = self.settings.model_copy(update={"android": android_settings})
        return AppRuns(shell, self.app(shell), settings, on_stage)

    def run(self, runs: AppRuns, backend: Backend = Backend.CPU):
        return runs(RunPlan(job=CANARY_JOB, backend=backend, bounds=BOUNDS))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    sdk = Rig(folder).make_sdk()
    shared().warm_up()
    settings = Settings(
        home=folder / "home",
        android=AndroidSettings(poll_s=0.05, app_start_timeout_s=300),
        emulator=EmulatorSettings(sdk=sdk.path),
        _env_file=None,
    )
    own = folder / "own"
    own.mkdir()
    with zipfile.ZipFile(folder / "app.apk", "w") as package:
        package.writestr("AndroidManifest.xml", "only the rig takes this for an app")
    server = AdbServer(settings.android, settings.home, own)
    emulator = Emulator("wires", settings.emulator, settings.home, own)
    try:
        server.start(NEVER)
        emulator.start(server.port, NEVER)
        bench = Bench(settings, sdk.avd("wires"), server, emulator, folder)
        shell = bench.shell()
        readiness(shell, settings, emulator, server.client).wait()
        emulator.boot_over()
        bench.app(shell).ensure_installed()
        yield bench
    finally:
        emulator.stop()
        server.stop()


@pytest.fixture(autouse=True)
def healthy(bench: Bench) -> Iterator[None]:
    yield
    bench.rig.heal()


class StopWhileWaiting(threading.Event):
    """A stop event that is set while a caller waits: its fifth check finds it set."""

    def __init__(self) -> None:
        super().__init__()
        self._looks = 0

    def is_set(self) -> bool:
        self._looks += 1
        if self._looks == 5:
            self.set()
        return super().is_set()


@pytest.fixture
def stop() -> threading.Event:
    return StopWhileWaiting()


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., AdbServer]]:
    servers = []

    def make(name: str, usb_serial: str | None = None) -> AdbServer:
        (tmp_path / name).mkdir()
        servers.append(
            AdbServer(AndroidSettings(), tmp_path / "home", tmp_path / name, usb_serial=usb_serial)
        )
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


# the server


def test_two_servers_that_start_on_a_new_home_share_one_key(tmp_path: Path, make_server) -> None:
    fork = multiprocessing.get_context("fork")

    def start_and_stop(server: AdbServer) -> None:
        server.start(NEVER)
        server.stop()

    servers = [fork.Process(target=start_and_stop, args=(make_server(name),)) for name in ("one", "two")]
    for server in servers:
        server.start()
    for server in servers:
        server.join(HANG_S)
    assert [server.exitcode for server in servers] == [0, 0]
    keys = {path.read_text() for path in tmp_path.glob("*/.android/adbkey")}
    assert keys == {(tmp_path / "home/adb/adbkey").read_text()}


def test_a_server_for_usb_sees_one_serial_and_one_for_others_no_usb(make_server, monkeypatch) -> None:
    monkeypatch.setenv("NNLITE_DATABASE_URL", "postgresql://secret")
    phone, other = make_server("phone", usb_serial="R58M123"), make_server("other")
    for server in (phone, other):
        server.start(NEVER)
    command = {server: psutil.Process(server.pid).cmdline() for server in (phone, other)}
    environment = {server: psutil.Process(server.pid).environ() for server in (phone, other)}
    assert command[phone][3:] == ["--one-device", "R58M123", "nodaemon", "server"]
    assert "--one-device" not in command[other]
    assert ("ADB_USB" in environment[phone], environment[other]["ADB_USB"]) == (False, "0")
    for server in (phone, other):
        assert {environment[server][name] for name in ("ADB_EMU", "ADB_MDNS")} == {"0"}
        assert "NNLITE_DATABASE_URL" not in environment[server]


def test_a_restarted_server_keeps_its_port(make_server) -> None:
    server = make_server("one")
    server.start(NEVER)
    port, pid = server.port, server.pid
    server.start(NEVER)
    assert (server.port, server.pid != pid) == (port, True)


def test_another_server_on_the_same_port_is_not_mistaken_for_ours(make_server) -> None:
    quicker, ours = make_server("quicker"), make_server("ours")
    quicker.start(NEVER)
    ours.client.port = quicker.port
    ours.start(NEVER)
    assert ours.port != quicker.port
    assert ours.client.is_answered()


def test_a_program_that_is_no_adb_server_is_a_fault_with_its_output(tmp_path: Path, make_server) -> None:
    broken = tmp_path / "adb"
    broken.write_text("#!/bin/sh\necho 'cannot make a key' >&2; exit 1\n")
    broken.chmod(0o755)
    server = AdbServer(AndroidSettings(adb=broken), tmp_path / "home", tmp_path)
    with pytest.raises(DeviceFailure, match="keygen") as caught:
        server.start(NEVER)
    assert caught.value.fault is Incident.ADB_SERVER_GONE
    assert not (tmp_path / "home/adb/adbkey").exists()


def test_a_scanning_server_does_not_find_our_emulator_and_ours_finds_no_phone(
    bench: Bench, rig: Rig, tmp_path: Path
) -> None:
    rig.phone()
    scanning = {name: value for name, value in os.environ.items() if not name.startswith("ADB_")}
    foreign = subprocess.Popen(
        [adbutils.adb_path(), "-P", "5037", "nodaemon", "server"],
        env=scanning | {"HOME": str(tmp_path), "ADB_MDNS": "0", "ADB_MDNS_OPENSCREEN": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        client = AdbClient(5037, HANG_S)
        wait_until(lambda: client.is_answered() and client.state_of("emulator-5554") == "device", "it scans")
        assert [device.serial for device in client.device_list()] == ["emulator-5554"]
    finally:
        end(foreign)
    assert [device.serial for device in bench.server.client.device_list()] == [bench.emulator.serial]


# the emulator


def command_line(emulator: Emulator) -> list[str]:
    process = psutil.Process(emulator.pid)
    wait_until(
        lambda: "-avd" in process.cmdline(), "a command line, which a process lacks while it becomes one"
    )
    return process.cmdline()


def test_a_restart_is_cold_without_a_snapshot_and_wipes_data_at_last(bench: Bench, tmp_path: Path) -> None:
    emulator = Emulator("snappy", bench.settings.emulator, bench.settings.home, tmp_path)
    try:
        emulator.start(bench.server.port, NEVER)
        commands = [command_line(emulator)]
        for recovery_step in emulator.recovery_steps(bench.shell(), lambda: 7777, NEVER):
            recovery_step.run()
            commands.append(command_line(emulator))
        environment = psutil.Process(emulator.pid).environ()
    finally:
        emulator.stop()
    flags = ("-no-snapshot-load", "-no-snapshot-save", "-wipe-data")
    assert [[flag for flag in flags if flag in command] for command in commands] == [
        ["-no-snapshot-load", "-no-snapshot-save"],
        ["-no-snapshot-load", "-no-snapshot-save"],
        ["-no-snapshot-load", "-no-snapshot-save", "-wipe-data"],
    ]
    assert environment["ANDROID_ADB_SERVER_PORT"] == "7777", "of the time of the recovery step"


def test_an_avd_that_another_emulator_runs_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    settings = bench.settings.emulator.model_copy(update={"avd_home": tmp_path})
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
    first, second = (Emulator("shared", settings, home, home) for home in homes)
    try:
        first.start(bench.server.port, NEVER)
        lock = tmp_path / "shared.avd" / "hardware-qemu.ini.lock"
        wait_until(lambda: lock.is_file() and lock.read_text(), "the AVD is locked")
        with pytest.raises(DeviceFailure, match=f"process {first.pid}, runs the AVD shared") as failure:
            second.start(bench.server.port, NEVER)
        assert failure.value.fault is Incident.EMULATOR_FAILED
        first.check()
        assert lock.is_file()
    finally:
        first.stop()
        second.stop()


def test_emulators_of_containers_boot_in_turn(bench: Bench, tmp_path: Path) -> None:
    """Each container has a home of its own; the folder of noise isolation is one."""
    names, stopping = ("one", "two"), threading.Event()
    for name in names:
        (tmp_path / name).mkdir()
    first, second = (
        Emulator(name, bench.settings.emulator, tmp_path / name, tmp_path / name, turns=tmp_path / "quiet")
        for name in names
    )
    stopping.set()
    try:
        first.start(bench.server.port, NEVER)
        with pytest.raises(Stopped, match="before the emulator was started"):
            second.start(bench.server.port, stopping)
    finally:
        first.stop()
        second.stop()


# a device that is not there


@pytest.mark.parametrize(
    ("serial", "usb", "words"),
    [
        ("R58M123", True, "is this its serial, is it plugged in with USB debugging on"),
        ("127.0.0.1:5999", False, "adb says: .*127.0.0.1:5999.*does its adbd listen there"),
    ],
)
def test_an_absent_phone_is_disconnected_with_a_hint(
    bench: Bench, make_server, serial: str, usb: bool, words: str
) -> None:
    phone = Phone(serial, usb=usb)
    server = make_server("phone", usb_serial=phone.usb_serial)
    server.start(NEVER)
    settings = bench.settings.model_copy(
        update={"android": bench.settings.android.model_copy(update={"connect_timeout_s": 3})}
    )
    shell = Shell(server.client, serial, settings.android, NEVER)
    with pytest.raises(DeviceFailure, match=words) as caught:
        readiness(shell, settings, phone, server.client).wait_connected()
    assert caught.value.fault is Incident.DISCONNECTED


# the shell


def test_a_stop_cancels_a_push_to_a_stalled_device(bench: Bench, stop: threading.Event) -> None:
    large = bench.folder / "large"
    with large.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    shell = bench.shell(stop, command_timeout_s=NEVER_S, transfer_timeout_s=NEVER_S)
    with frozen(bench.emulator.pid), pytest.raises(Stopped):
        shell.push(large, f"{FOLDER}/large")


def test_a_stop_cancels_the_wait_for_a_shell(bench: Bench, stop: threading.Event) -> None:
    shell = bench.shell(stop, command_timeout_s=NEVER_S)
    with frozen(bench.emulator.pid), pytest.raises(Stopped):
        shell.run("true")


def test_a_command_is_ended_at_its_timeout(bench: Bench) -> None:
    with pytest.raises(DeviceFailure, match="did not finish `sleep 3600`") as caught:
        bench.shell().run("sleep 3600", timeout_s=3)
    assert caught.value.fault is Incident.NO_ANSWER


def test_endless_output_is_rejected(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_module, "MAX_OUTPUT_BYTES", 1_000_000)
    with pytest.raises(DeviceFailure, match="printed over 1000000 bytes") as caught:
        bench.shell().run("yes")
    assert caught.value.fault is Incident.BAD_REPORT


def test_invalid_utf8_is_replaced(bench: Bench) -> None:
    assert bench.shell().shell_output(r"printf 'a\377\000b'") == "a\ufffd\0b"


def test_reboot_returns_when_the_device_is_down(bench: Bench) -> None:
    shell = bench.shell()
    shell.reboot()
    assert shell.state() != "device"
    readiness(shell, bench.settings, bench.emulator, bench.server.client).wait()


# files


def test_a_file_with_a_hostile_name_is_pushed_and_removed(bench: Bench) -> None:
    files, name = DeviceFiles(bench.shell()), 'it\'s a "file"; $(reboot) `x`'
    remote = files.put(Path(__file__), name)
    assert bench.shell().shell_output(f"cat {shlex.quote(remote)}") == Path(__file__).read_text()
    files.remove([remote])
    assert files.sha256_of(remote) is None


def test_a_link_is_removed_without_its_target(bench: Bench) -> None:
    shell = bench.shell()
    shell.run(f"mkdir -p /data/local/tmp/theirs && touch /data/local/tmp/theirs/file && mkdir -p {FOLDER}")
    shell.run(f"ln -s /data/local/tmp/theirs {FOLDER}/link")
    DeviceFiles(shell).remove([f"{FOLDER}/link"])
    assert shell.shell_output("ls /data/local/tmp/theirs").split() == ["file"]


# runs of the app


def test_files_that_cannot_be_pulled_are_sent_as_chunks_from_then_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Transfer] = []

    def noted(request: RunRequest) -> str:
        asked.append(request.transfer)
        return command_line(request)

    command_line = run_module.command_line
    monkeypatch.setattr(run_module, "command_line", noted)
    shell = bench.shell()
    pull = shell.pull

    def forbidden(remote: str, file: Path, **limit: int) -> None:
        shell.run(f"rm {shlex.quote(remote)}")
        pull(remote, file, **limit)

    monkeypatch.setattr(shell, "pull", forbidden)
    runs = bench.runs(shell)
    assert bench.run(runs).outputs and bench.run(runs).outputs
    assert asked == [Transfer.AUTO, Transfer.STATUS, Transfer.STATUS]
    assert not shell.shell_output(f"ls {MEDIA}").split()


def test_files_are_sent_as_chunks_if_the_settings_say_so(bench: Bench) -> None:
    run = bench.run(bench.runs(transfer="status"))
    assert run.report.folder is None
    assert run.outputs and run.samples_ns.size


def test_runs_and_refusals_leave_no_files_on_the_device(bench: Bench) -> None:
    runs, shell = bench.runs(), bench.shell()
    assert bench.run(runs).report.folder is not None
    refused = bench.run(runs, Backend.GPU).report
    assert refused.error is not None
    shell.run(f"mkdir -p {MEDIA}")
    assert not shell.shell_output(f"ls {MEDIA}").split()
    assert not [name for name in shell.shell_output(f"ls {FOLDER}").split() if name.endswith(".raw")]


def test_timestamps_of_a_refusal_are_of_the_hosts_clock(bench: Bench) -> None:
    bench.rig.fault(Fault.CLOCK_JUMPS)
    run = bench.run(bench.runs(), Backend.GPU)
    assert run.after is not None
    assert run.after.at >= run.started_at


def test_a_stop_force_stops_the_app(bench: Bench) -> None:
    bench.rig.fault(Fault.APP_HANGS)
    stop = threading.Event()
    runs = bench.runs(bench.shell(stop), lambda stage: stop.set() if stage is Stage.RUN else None)
    with pytest.raises(Stopped):
        bench.run(runs)
    shell = bench.shell()
    assert not shell.shell_output(f"pidof {PACKAGE}").strip()
    assert not [name for name in shell.shell_output(f"ls {FOLDER}").split() if name.endswith(".raw")]


#: What a run may find of a connection that is gone, depending on what adb has noticed.
BROKEN = {Incident.OFFLINE, Incident.DISCONNECTED, Incident.COMMAND_FAILED}


@pytest.mark.parametrize("stage", [Stage.PUSH, Stage.INITIALIZE, Stage.WARM_UP, Stage.RUN, Stage.PULL])
def test_a_device_that_vanishes_at_any_stage_is_a_fault_and_nothing_is_left_of_the_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: Stage
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if stage not in {Stage.PUSH, Stage.PULL}:
        bench.rig.fault(Fault.APP_HANGS, stage=stage.value)  # so that the run is not over before

    def vanish(entered: Stage) -> None:
        if entered is stage:
            with suppress(DeviceFailure):
                bench.shell().run("kill-adbd")

    before = open_descriptors()
    try:
        with pytest.raises(DeviceFailure, match=bench.emulator.serial) as caught:
            bench.run(bench.runs(on_stage=vanish))
    finally:
        bench.rig.heal()
        shell = bench.shell()
        readiness(shell, bench.settings, bench.emulator, bench.server.client).wait()
    assert (caught.value.stage, caught.value.fault in BROKEN) == (stage, True), caught.value
    assert not list(tmp_path.iterdir())
    assert open_descriptors() <= before
    bench.app(shell).remove_leftovers()
    assert not shell.shell_output(f"ls {FOLDER} {MEDIA} | grep -v :").split()
    assert bench.run(bench.runs()).report.error is None


def test_a_report_of_100_mb_is_given_up_at_its_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = "printf 'INSTRUMENTATION_RESULT: report='; head -c 100000000 /dev/zero | tr '\\0' x; sleep 3600"
    monkeypatch.setattr(run_module, "command_line", lambda _: sent)
    with pytest.raises(DeviceFailure, match="a line is longer than 1048576 characters") as caught:
        bench.run(bench.runs())
    assert caught.value.fault is Incident.BAD_REPORT


def test_files_of_a_run_are_limited_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "MAX_FILES_BYTES", 10)
    with pytest.raises(DeviceFailure, match="bytes together, the most are 10") as caught:
        bench.run(bench.runs())
    assert caught.value.fault is Incident.BAD_REPORT
    assert not bench.shell().shell_output(f"ls {MEDIA}").split()


REPORT = {
    "runtime": "x",
    "runtime_version": "",
    "threads": 1,
    "stage": "run",
    "folder": "/data/local/tmp/theirs",
}
SENT = f"INSTRUMENTATION_RESULT: report={json.dumps(REPORT)}\nINSTRUMENTATION_CODE: -1\n"


@pytest.mark.parametrize(
    ("output", "fault", "words"),
    [
        (
            "INSTRUMENTATION_STATUS: stage=dance\nINSTRUMENTATION_STATUS_CODE: 1\n",
            Incident.BAD_REPORT,
            "stage 'dance' is none of",
        ),
        (SENT, Incident.APP_HUNG, "sent its result, but does not end"),
    ],
    ids=["nonsense", "a last word"],
)
def test_an_app_that_continues_after_invalid_output_or_its_result_is_stopped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, output: str, fault: Incident, words: str
) -> None:
    monkeypatch.setattr(run_module, "command_line", lambda _: f"printf %s {shlex.quote(output)}; sleep 3600")
    monkeypatch.setattr(run_monitor, "_END_TIMEOUT_S", 0.2)
    with pytest.raises(DeviceFailure, match=words) as caught:
        bench.run(bench.runs())
    assert caught.value.fault is fault


def test_a_report_with_a_foreign_folder_is_rejected_and_the_folder_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = bench.shell()
    shell.run(f"mkdir -p {REPORT['folder']}")
    monkeypatch.setattr(run_module, "command_line", lambda _: f"printf %s {shlex.quote(SENT)}")
    with pytest.raises(DeviceFailure, match="is not the app's folder") as caught:
        bench.run(bench.runs())
    assert caught.value.fault is Incident.BAD_REPORT
    assert shell.shell_output(f"ls -d {REPORT['folder']}").strip() == REPORT["folder"]
