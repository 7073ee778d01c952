"""What holds a phone's clocks, and what spoils its numbers, from what its commands print.

No phone was available: the texts are those of AOSP's classes, named where they are parsed.
"""

from datetime import UTC, datetime

import pytest

from nnlite.reports.schema import DeviceContext, DeviceState, MeasurementReport
from nnlite.settings.groups import PhoneSettings
from nnlite.vocabulary import (
    Backend,
    ClockPolicy,
    Condition,
    DeviceKind,
    Precision,
    QuietMode,
    Stage,
    Verdict,
)
from nnlite_benchmark.android.adb.shell import CommandResult
from nnlite_benchmark.android.clocks import ClockControl, clocks_of
from nnlite_benchmark.android.conditions import conditions_of
from nnlite_benchmark.android.properties.analytics import (
    android_context,
    android_state,
    are_locked,
    is_mirrored,
)
from unit.android.recorded_device import device_printing

pytestmark = pytest.mark.fast
NOW = datetime(2026, 11, 29, tzinfo=UTC)
FIX = "cmd power set-fixed-performance-mode-enabled"


class PrintingShell:
    """A phone's shell that prints one text for every command."""

    def __init__(self, stdout: str = "", stderr: str = "", status: int = 0) -> None:
        self.result = CommandResult(stdout=stdout, stderr=stderr, status=status)
        self.commands: list[str] = []

    def run(self, command: str) -> CommandResult:
        self.commands.append(command)
        return self.result


def measured(before: DeviceState | None = None, **fields) -> MeasurementReport:
    return MeasurementReport(
        backend=Backend.CPU, precision=Precision.FP32, verdict=Verdict.VALID, started_at=NOW,
        runtime="TFLite", runtime_version="2.16.1", threads=1, stage=Stage.RUN, before=before, **fields,
    )  # fmt: skip


def state(**fields) -> DeviceState:
    return DeviceState(at=NOW, **fields)


def test_clocks_are_fixed_where_the_phone_says_nothing_and_let_go_at_the_end():
    shell = PrintingShell()
    control = ClockControl(shell, ClockPolicy.FIXED)

    assert control.hold(34) is None
    control.release()
    control.release()

    assert shell.commands == [f"{FIX} true", f"{FIX} false"]
    clocks = clocks_of(ClockPolicy.FIXED, None, measured())
    assert (clocks.policy, clocks.note) == (ClockPolicy.FIXED, None)


@pytest.mark.parametrize(
    "shell",
    [
        PrintingShell(
            stderr="Failed to set FIXED_PERFORMANCE mode\nThis is likely because Power HAL AIDL is not "
            "implemented on this device\n",
            status=255,
        ),
        PrintingShell(stdout="Unknown command: set-fixed-performance-mode-enabled\n", status=255),
        PrintingShell(stderr="No shell command implementation.\n"),
        PrintingShell(status=20),
    ],
    ids=["no power HAL", "API 29", "API 28", "silent"],
)
def test_a_phone_without_fixed_performance_mode_runs_free_and_says_why(shell):
    control = ClockControl(shell, ClockPolicy.FIXED)

    refusal = control.hold(None)
    control.release()

    assert (shell.result.text or "exit status 20").split("\n")[0] in refusal
    assert shell.commands == [f"{FIX} true"], "what was not set is not set back"
    clocks = clocks_of(ClockPolicy.FIXED, refusal, measured())
    assert (clocks.policy, clocks.asked, clocks.note) == (ClockPolicy.FREE, ClockPolicy.FIXED, refusal)


def test_a_phone_below_api_30_is_not_asked():
    shell = PrintingShell()

    assert ClockControl(shell, ClockPolicy.FIXED).hold(29) == (
        "fixed performance mode needs API level 30, this device has 29"
    )
    assert ClockControl(shell, ClockPolicy.FREE).hold(34) is None
    assert shell.commands == []


@pytest.mark.parametrize(
    ("supported", "policy"),
    [(True, ClockPolicy.SUSTAINED), (False, ClockPolicy.FREE), (None, ClockPolicy.FREE)],
)
def test_sustained_performance_counts_where_the_device_has_it(supported, policy):
    assert clocks_of(ClockPolicy.SUSTAINED, None, measured(sustained_performance=supported)).policy is policy


LIMITS = "/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_{end}_freq:{khz}\n"


def limits(*cores: tuple[int, int]) -> str:
    return "".join(
        LIMITS.format(core=core, end=end, khz=khz)
        for core, both in enumerate(cores)
        for end, khz in zip(("min", "max"), both, strict=True)
    )


def test_locked_clocks_are_detected_whatever_was_asked():
    assert are_locked(limits((1_200_000, 1_200_000), (2_000_000, 2_000_000))) is True
    assert are_locked(limits((300_000, 1_200_000), (2_000_000, 2_000_000))) is False
    assert are_locked("") is None
    assert are_locked(LIMITS.format(core=0, end="min", khz=1)) is None, "no core tells both"
    clocks = clocks_of(ClockPolicy.FIXED, "no fixed performance mode", measured(state(clocks_locked=True)))
    assert clocks.policy is ClockPolicy.LOCKED


PHONE = 'DisplayDeviceInfo{"Built-in Screen"\n, type INTERNAL\n, type INTERNAL\n'
NO_PROJECTION = "MEDIA PROJECTION MANAGER (dumpsys media_projection)\nMedia Projection: \nnull\n"


@pytest.mark.parametrize(
    ("displays", "projection", "mirrored"),
    [
        (PHONE, NO_PROJECTION, False),
        # Of Android 8, whose `BUILT_IN` the phone's grep cuts.
        ('DisplayDeviceInfo{"Built-in Screen"\n, type BUILT\n', NO_PROJECTION, False),
        (PHONE + 'DisplayDeviceInfo{"scrcpy"\n, type VIRTUAL\n', NO_PROJECTION, True),
        (PHONE + 'DisplayDeviceInfo{"TV"\n, type WIFI\n', "", True),
        (
            PHONE,
            NO_PROJECTION.replace("null", "(com.example.recorder, uid=10123): TYPE_SCREEN_CAPTURE"),
            True,
        ),
        ("", "Can't find service: media_projection\n", None),
        ("", "", None),
    ],
)
def test_a_screen_that_is_recorded_or_shown_elsewhere(displays, projection, mirrored):
    assert is_mirrored(displays, projection) is mirrored


def test_the_state_asks_for_all_of_it():
    seen = android_state(
        device_printing(
            {
                "power_saver": "1\n",
                "displays": PHONE,
                "projection": NO_PROJECTION,
                "frequency_limits": limits((1, 1)),
            }
        )
    )

    assert (seen.power_saver, seen.mirrored, seen.clocks_locked) == (True, False, True)
    unknown = android_state(device_printing({}))
    assert unknown.power_saver is unknown.mirrored is unknown.clocks_locked is None


@pytest.mark.parametrize(
    ("properties", "debuggable"),
    [
        ("[ro.build.type]: [user]\n[ro.debuggable]: [0]\n", False),
        ("[ro.build.type]: [userdebug]\n[ro.debuggable]: [1]\n", True),
        ("[ro.build.type]: [eng]\n", True),
        ("[ro.debuggable]: [1]\n", True),
        ("", None),
    ],
)
def test_a_debuggable_build_is_told_from_a_users(properties, debuggable):
    assert context(device_printing({"properties": properties})).debuggable is debuggable


def context(shell_output) -> DeviceContext:
    return android_context(
        shell_output, name="usb:abc", kind=DeviceKind.PHONE, pool="phones", quiet_mode=QuietMode.OWN_MACHINE
    )


def test_every_condition_is_named_that_was_seen_before_or_after():
    phone = context(device_printing({"properties": "[ro.build.type]: [eng]\n"}))
    report = measured(
        state(charging=True, battery_percent=80.0),
        after=state(power_saver=True, mirrored=True, battery_percent=19.0),
        cores_error="sched_setaffinity of cores [4] fails with errno 22",
    )

    assert conditions_of(report, phone, PhoneSettings()) == tuple(
        [
            Condition.POWER_SAVER,
            Condition.DEBUG_BUILD,
            Condition.MIRRORED,
            Condition.CHARGING,
            Condition.NOT_BOUND,
            Condition.LOW_BATTERY,
        ]
    )
    quiet = measured(state(charging=False, battery_percent=80.0, power_saver=False, mirrored=False))
    assert conditions_of(quiet, context(device_printing({})), PhoneSettings()) == ()
