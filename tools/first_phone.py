"""Tries one phone for the first time, and writes a page: what held there, and what did not.

`make first-phone`, with one phone on USB, or `make first-phone PHONE=tcp:HOST:PORT`. It installs the app,
measures the canary on each backend, and tries what the table in `android_app/README.md` says of Android;
nothing is stored in a database. The page has no serial number, for an issue.
"""

import argparse
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from nnlite.backends import BACKENDS
from nnlite.campaigns.device_argument import DeviceArgument, device_argument
from nnlite.errors import NnliteError, UsageError
from nnlite.reports.schema import MeasurementReport
from nnlite.settings import Settings, load_settings
from nnlite.vocabulary import Backend, Reason, Stage
from nnlite_benchmark.android.device import AndroidDevice
from nnlite_benchmark.android.properties.analytics import CPUS, STATE_COMMANDS
from nnlite_benchmark.android.properties.parsers import word
from nnlite_benchmark.android.properties.power import PERFETTO_COMMAND, RAIL_COMMANDS, traced_rails
from nnlite_benchmark.device import DeviceFailure, RuntimeRefusal
from nnlite_benchmark.device_factory import open_device
from nnlite_benchmark.jobs import with_cores
from nnlite_benchmark.protocol.measuring import CANARY_JOB
from nnlite_benchmark.protocol.passes import passes_of

#: What is asked of the phone's shell: the expectation, the command, and what its output must match.
QUESTIONS: Final = (
    ("the current user is known", "am get-current-user", r"\d+\s*"),
    ("the first unlock is known", "am get-started-user-state $(am get-current-user)", r"RUNNING_\w+\s*"),
    ("error dialogs are hidden", "settings get global hide_error_dialogs", r"1\s*"),
    ("the page size is known", "getconf PAGE_SIZE", r"(4096|16384|65536)\s*"),
    ("the build is not debuggable", "getprop ro.debuggable", r"0\s*"),
    ("battery saver is off", "settings get global low_power", r"(0|null)\s*"),
    ("Android has a thermal status (from API 29)", "dumpsys thermalservice", r"(?s).*Thermal Status: \d.*"),
    ("cores tell their frequency", f"cat {CPUS}/cpu0/cpufreq/scaling_cur_freq", r"\d+\s*"),
    ("and the highest that they have", f"cat {CPUS}/cpu0/cpufreq/cpuinfo_max_freq", r"\d+\s*"),
    ("thermal zones can be read", "cat /sys/class/thermal/thermal_zone0/temp", r"-?\d+\s*"),
    ("displays are named", STATE_COMMANDS["displays"], r"(?s).*, type (INTERNAL|BUILT).*"),
    ("who records the screen is named", STATE_COMMANDS["projection"], r"(?s).*Media Projection:.*"),
    ("the battery has a charge counter", "dumpsys battery", r"(?s).*Charge counter: [1-9].*"),
    ("simpleperf is there", "simpleperf --version", r"(?s).*\d.*"),
    ("power rails tell their energy", "; ".join(RAIL_COMMANDS.values()), r"(?s).*\d mWs.*"),
)  # fmt: skip
#: Longest wait for a cool phone before each run, seconds: all of it should take ten minutes at most.
_COOL_S: Final = 10.0
_USB: Final = Path("/sys/bus/usb/devices")
#: Class, subclass and protocol of adb's interface on USB: packages/modules/adb/adb.h.
_ADB: Final = ["ff", "42", "01"]


@dataclass(kw_only=True)
class Page:
    """Rows of expectation, outcome and evidence."""

    title: str = "a phone"
    #: Its serial or address, which the page does not have.
    hidden: str
    rows: list[tuple[str, bool, str]] = field(default_factory=list)

    def add(self, expected: str, held: bool, evidence: str) -> None:
        """Add a row, and print it."""
        shown = word(" ".join(evidence.replace(self.hidden, "the phone").split())) or ""
        self.rows.append((expected, held, shown))
        print(f"{'held    ' if held else 'DID NOT '} {expected}: {shown}", flush=True)

    def markdown(self) -> str:
        """Return the page."""
        head = f"# nnlite on {self.title}\n\n{datetime.now(UTC):%Y-%m-%d}\n\n"
        head += "| expected | held | evidence |\n|---|---|---|\n"
        return head + "".join(
            f"| {expected} | {'yes' if held else '**no**'} | {evidence.replace('|', '/') or '-'} |\n"
            for expected, held, evidence in self.rows
        )


def try_phone(argument: DeviceArgument, settings: Settings, pass_s: int) -> Page:
    """Try the phone and return the page; a phone that does not become ready, or goes away, is a page too.

    Args:
        argument: what phone.
        settings: of the worker.
        pass_s: seconds of each pass of continuous inference.
    """
    stop, page = threading.Event(), Page(hidden=argument.target)
    device = open_device(argument, settings, stop=stop, on_stage=lambda _stage: None)
    assert isinstance(device, AndroidDevice)  # noqa: S101
    try:
        if _try("the phone becomes ready and computes the canary rightly", page, device.prepare):
            _describe(device, page)
            _ask(device, page, stop)
            with device.loaded(CANARY_JOB, stop):
                for backend in (each for each in Backend if each in BACKENDS[device.kind]):
                    _measure(device, backend, page, stop)
                _bind(device, settings, page, stop)
                _pass(device, pass_s, settings, page, stop)
            page.add("the shell may read the app's files", device.pulls_files, "")
    except DeviceFailure as failure:
        page.add("the phone answers to the end", False, f"{failure.fault}: {failure.reason}")
    finally:
        device.close()
    return page


def _try(expected: str, page: Page, call: Callable[[], None]) -> bool:
    try:
        call()
    except DeviceFailure as failure:
        page.add(expected, False, f"{failure.fault}: {failure.reason}")
        return False
    page.add(expected, True, "")
    return True


def _describe(device: AndroidDevice, page: Page) -> None:
    context = device.context()
    page.title = f"{context.machine or context.device_type}, Android {context.os_version}"
    page.add("model and build are known", context.device_type != "unknown", context.build_fingerprint or "")
    page.add(
        "the processor is known by name", context.cpu.model is not None, f"{context.soc}: {context.cpu.model}"
    )
    page.add("the API level is known", context.api_level is not None, f"{context.api_level}, {context.abi}")


def _ask(device: AndroidDevice, page: Page, stop: threading.Event) -> None:
    for expected, command, pattern in QUESTIONS:
        result = device.shell_result(command, stop)
        page.add(expected, re.fullmatch(pattern, result.stdout) is not None, result.text)
    (traced,) = PERFETTO_COMMAND.values()
    _, rails = traced_rails(device.shell_result(traced, stop).stdout)
    page.add("perfetto traces power rails", bool(rails), ", ".join(rails))


def _measure(device: AndroidDevice, backend: Backend, page: Page, stop: threading.Event) -> None:
    expected = f"the canary is measured on the {backend}"
    try:
        report = device.run(CANARY_JOB, backend, stop=stop)
    except RuntimeRefusal as refusal:
        # Of an accelerator that is a result, and worth knowing.
        page.add(expected, False, refusal.reason)
        return
    except DeviceFailure as failure:
        page.add(expected, False, f"{failure.fault}: {failure.reason}")
        return
    median_ms = (report.latency.median_ns if report.latency else 0) / 1e6
    page.add(
        expected, report.latency is not None, f"{report.verdict}, {median_ms:.2f} ms, {_reasons(report)}"
    )
    page.add(f"the app is in front ({backend})", report.in_front is True, f"in_front: {report.in_front}")
    top_app = Reason.NOT_TOP_APP not in report.reasons
    page.add(
        f"it is scheduled as the top app ({backend})", top_app, str(report.after and report.after.cpuset)
    )
    if report.clocks is not None:
        clocks = report.clocks
        evidence = f"{clocks.policy}: {clocks.note or 'no objection'}"
        page.add(f"the clocks are {clocks.asked} ({backend})", clocks.policy is clocks.asked, evidence)
    if backend is Backend.CPU_PLAIN:  # nothing is delegated
        return
    if backend is Backend.CPU:
        _follow(report, page)
    counted = report.delegation
    page.add(
        f"delegated nodes are counted from the log ({backend})",
        counted is not None and counted.counted_from == "log",
        f"{counted.delegated_nodes} of {counted.total_nodes}" if counted else "no delegation",
    )


def _follow(report: MeasurementReport, page: Page) -> None:
    """Add what was followed during the runs."""
    thermal = report.thermal
    status = [each for each in (thermal.status if thermal else ()) if each is not None]
    page.add("the thermal status is followed (from API 29)", bool(status), f"{len(status)} readings")
    headroom = [each for each in (thermal.headroom if thermal else ()) if each is not None]
    page.add(
        "so is the headroom (from API 30)", bool(headroom), ", ".join(f"{each:.2f}" for each in headroom)
    )
    page.add("the core of each slice is known", bool(report.slice_cores), str(report.slice_cores))


def _bind(device: AndroidDevice, settings: Settings, page: Page, stop: threading.Event) -> None:
    """Measure on the fast cores."""
    expected = "the measuring thread is bound to the fast cores"
    try:
        asked = replace(CANARY_JOB, asked_cores="fast")
        job = with_cores(asked, Backend.CPU, device, settings.measurement, stop)
        report = device.run(job, Backend.CPU, stop=stop)
    except (RuntimeRefusal, DeviceFailure) as failure:
        page.add(expected, False, failure.reason)
        return
    bound = report.cores_error is None and report.cores == job.cores
    page.add(expected, bound, report.cores_error or f"cores {report.cores}")


def _pass(device: AndroidDevice, pass_s: int, settings: Settings, page: Page, stop: threading.Event) -> None:
    """Run continuously, once for the energy of an inference and once for its events."""
    job = replace(CANARY_JOB, passes={Stage.ENERGY: pass_s, Stage.COUNTERS: pass_s})
    found = passes_of(device, job, Backend.CPU, settings.measurement.shape_tolerance, stop)
    energy, counters = found.get("energy"), found["counters"]
    evidence = f"{energy.method}: {energy.energy_uj:.0f} uJ" if energy else found["energy_error"]
    page.add("energy of an inference is measured", energy is not None, evidence)
    events = ", ".join(f"{event} {number:.0f}" for event, number in counters.per_inference.items())
    page.add("simpleperf counts events of the app", bool(events), events or counters.error or "")


def _reasons(report: MeasurementReport) -> str:
    return ", ".join(report.reasons) or "no reason"


def attached_phone(usb: Path = _USB) -> str:
    """Return `usb:SERIAL` of the only phone on USB with debugging on.

    Raises:
        UsageError: there is none, or there are several.
    """
    serials = {
        _line(usb / interface.name.partition(":")[0] / "serial")
        for interface in usb.glob("*:*")
        if [_line(interface / f"bInterface{part}") for part in ("Class", "SubClass", "Protocol")] == _ADB
    }
    if len(serials) == 1:
        return f"usb:{serials.pop()}"
    found = f"phones with USB debugging on: {', '.join(sorted(serials)) or 'none'}"
    raise UsageError(f"{found}; attach one, or name it: make first-phone PHONE=usb:SERIAL (or tcp:HOST:PORT)")


def _line(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def main() -> int:
    """Try the phone; exit code 1 if something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "device",
        metavar="PHONE",
        nargs="?",
        help="usb:SERIAL or tcp:HOST:PORT, as `nnlite worker benchmark --device` takes it; default: the only "
        "one on USB",
    )
    parser.add_argument("--output", type=Path, default=Path("build/first-phone.md"), help="the page")
    parser.add_argument(
        "--apk", type=Path, default=Path("build/nnlite-benchmark.apk"), help="the benchmark app"
    )
    parser.add_argument(
        "--seconds", type=int, default=20, help="of continuous inference for energy, and for counters"
    )
    words = parser.parse_args()
    try:
        argument = device_argument(words.device or attached_phone(), "first-phone")
        if argument.scheme not in {"usb", "tcp"}:
            raise UsageError(f"{argument.text} is no phone: PHONE is usb:SERIAL or tcp:HOST:PORT")
        with tempfile.TemporaryDirectory(prefix="nnlite-first-phone-") as home:
            loaded = load_settings()
            changes = {
                "home": Path(home),
                "android": loaded.android.model_copy(update={"apk": words.apk}),
                "phone": loaded.phone.model_copy(update={"cool_s": _COOL_S}),
            }
            page = try_phone(argument, loaded.model_copy(update=changes), words.seconds)
    except NnliteError as error:
        print(f"first-phone: {error}", file=sys.stderr)
        return 1
    words.output.parent.mkdir(parents=True, exist_ok=True)
    words.output.write_text(page.markdown(), "utf-8")
    print(f"The page is {words.output}.")
    return 0 if all(held for _, held, _ in page.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
