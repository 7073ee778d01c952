"""Tries one phone for the first time, and writes a page: what held there, and what did not.

`make first-phone PHONE=usb:SERIAL`. It installs the app, measures the canary on each backend, and asks for
what nnlite relies on; nothing is stored in a database. The page has no serial number, for an issue.
"""

import argparse
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from nnlite.backends import BACKENDS
from nnlite.campaigns.device_argument import DeviceArgument, device_argument
from nnlite.errors import NnliteError
from nnlite.reports.schema import MeasurementReport
from nnlite.settings import Settings, load_settings
from nnlite.vocabulary import Backend, Reason
from nnlite_benchmark.android.device import AndroidDevice
from nnlite_benchmark.android.properties.perfetto import PERFETTO_COMMAND, traced_rails
from nnlite_benchmark.android.properties.power import RAIL_COMMANDS
from nnlite_benchmark.device import DeviceFailure, RuntimeRefusal
from nnlite_benchmark.device_factory import open_device
from nnlite_benchmark.protocol.measuring import CANARY_JOB

#: What is asked of the phone's shell: the expectation, the command, and what its output must match.
QUESTIONS: Final = (
    ("the current user is known", "am get-current-user", r"\d+\s*"),
    ("the first unlock is known", "am get-started-user-state $(am get-current-user)", r"RUNNING_\w+\s*"),
    ("error dialogs are hidden", "settings get global hide_error_dialogs", r"1\s*"),
    ("the page size is known", "getconf PAGE_SIZE", r"(4096|16384|65536)\s*"),
    ("the build is not debuggable", "getprop ro.debuggable", r"0\s*"),
    ("battery saver is off", "settings get global low_power", r"(0|null)\s*"),
    ("Android has a thermal status (from API 29)", "dumpsys thermalservice", r"(?s).*Thermal Status: \d.*"),
    ("cores tell their frequency", "cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", r"\d+\s*"),
    ("thermal zones can be read", "cat /sys/class/thermal/thermal_zone0/temp", r"-?\d+\s*"),
    ("simpleperf is there", "simpleperf --version", r"(?s).*\d.*"),
    ("power rails tell their energy", "; ".join(RAIL_COMMANDS.values()), r"(?s).*\d mWs.*"),
)  # fmt: skip
_MAX_EVIDENCE_CHARS: Final = 300


@dataclass(kw_only=True)
class Page:
    """Rows of expectation, outcome and evidence."""

    title: str = "a phone"
    rows: list[tuple[str, bool, str]] = field(default_factory=list)

    def add(self, expected: str, held: bool, evidence: str) -> None:
        """Add a row, and print it."""
        shown = " ".join(evidence.split())[:_MAX_EVIDENCE_CHARS]
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


def try_phone(argument: DeviceArgument, settings: Settings) -> Page:
    """Try the phone and return the page; a phone that does not become ready is a page too."""
    stop, page = threading.Event(), Page()
    device = open_device(argument, settings, stop=stop, on_stage=lambda _stage: None)
    assert isinstance(device, AndroidDevice)  # noqa: S101
    try:
        if _try("the phone becomes ready and computes the canary rightly", page, device.prepare):
            _describe(device, page)
            _ask(device, page, stop)
            with device.loaded(CANARY_JOB, stop):
                for backend in (each for each in Backend if each in BACKENDS[device.kind]):
                    _measure(device, backend, page, stop)
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
    counted = report.delegation
    page.add(
        f"delegated nodes are counted from the log ({backend})",
        counted is not None and counted.counted_from == "log",
        f"{counted.delegated_nodes} of {counted.total_nodes}" if counted else "no delegation",
    )


def _reasons(report: MeasurementReport) -> str:
    return ", ".join(report.reasons) or "no reason"


def main() -> int:
    """Try the phone; exit code 1 if something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "device",
        metavar="PHONE",
        help="usb:SERIAL or tcp:HOST:PORT, as `nnlite worker benchmark --device` takes it",
    )
    parser.add_argument("--output", type=Path, default=Path("build/first-phone.md"), help="the page")
    parser.add_argument(
        "--apk", type=Path, default=Path("build/nnlite-benchmark.apk"), help="the benchmark app"
    )
    words = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="nnlite-first-phone-") as home:
            loaded = load_settings()
            settings = loaded.model_copy(
                update={"home": Path(home), "android": loaded.android.model_copy(update={"apk": words.apk})}
            )
            page = try_phone(device_argument(words.device, "first-phone"), settings)
    except NnliteError as error:
        print(f"first-phone: {error}", file=sys.stderr)
        return 1
    words.output.parent.mkdir(parents=True, exist_ok=True)
    words.output.write_text(page.markdown(), "utf-8")
    print(f"The page is {words.output}.")
    return 0 if all(held for _, held, _ in page.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
