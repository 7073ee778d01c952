"""The faults of the demonstration campaign, and what must be observed of each afterwards."""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from device.lab import Lab
from device.rig.backends import Mode
from device.rig.faults import Fault
from device.rig.rig import RigDevice, kill

#: An adb connection that breaks is noticed in one of these ways, by milliseconds.
_BROKEN = frozenset({"offline", "disconnected", "command_failed"})
#: Android's thermal status "severe"; measurements from "light" on are throttled.
_HOT, _COOL = 3, 0


@dataclass(kw_only=True)
class Scene:
    """One thing that goes wrong."""

    #: Printed when it happens.
    description: str
    act: Callable[[], None]
    #: It happens when so many benchmarks are done ...
    measured: int = 0
    #: ... and a measurement has this reason; None: any.
    after: str | None = None
    #: Name of the device of which there must be an incident ...
    device: str = ""
    #: ... with one of these faults; empty: there must be none.
    faults: frozenset[str] = frozenset()
    #: The reason that a measurement must have; None: none needs one.
    reason: str | None = None
    #: Whether it happens in a small run too.
    small: bool = False
    done: bool = field(default=False, init=False)

    def due(self, measured: int, reasons: AbstractSet[str]) -> bool:
        """Whether it happens now."""
        return not self.done and measured >= self.measured and self.after in {None, *reasons}


def run_due(all_scenes: Iterable[Scene], measured: int, reasons: AbstractSet[str]) -> list[Scene]:
    """Run the scenes that are due, and return them.

    Args:
        all_scenes: those that happened already, too.
        measured: benchmarks that are done.
        reasons: all reasons of measurements so far.
    """
    due = [scene for scene in all_scenes if scene.due(measured, reasons)]
    for scene in due:
        scene.act()
        scene.done = True
    return due


def scenes(lab: Lab, zero: RigDevice, one: RigDevice, phone: RigDevice) -> list[Scene]:
    """Return everything that goes wrong with two emulators and a phone."""
    first, second = (lab.device_name(f"avd:{device.name}") for device in (zero, one))

    def backends() -> None:
        zero.backends(gpu=Mode.WORKS)
        one.backends(npu=Mode.PARTIAL)

    return [
        Scene(
            description=f"the GPU of {zero.name} works, its NPU takes nothing; "
            f"{one.name} refuses its GPU, and its NPU leaves a node of each model out",
            act=backends,
            small=True,
        ),
        Scene(
            description=f"the first boot of {zero.name} never completes",
            act=lambda: zero.fault(Fault.NEVER_BOOTS, times=1),
            device=first,
            faults=frozenset({"boot_timeout"}),
            small=True,
        ),
        Scene(
            description=f"on {zero.name} every fifth run of a model crashes the app",
            act=lambda: zero.fault(Fault.APP_CRASHES, every=5, runs="benchmark"),
            device=first,
            faults=frozenset({"app_crashed"}),
        ),
        Scene(
            description=f"on {phone.name} another window takes the focus from the app, once",
            act=lambda: phone.fault(Fault.NOT_IN_FRONT, runs="benchmark", times=1),
            small=True,
        ),
        Scene(
            description=f"a shell command on {one.name} hangs",
            act=lambda: one.fault(Fault.SHELL_HANGS, times=1),
            measured=2,
            device=second,
            faults=frozenset({"no_answer"}),
        ),
        *(
            Scene(
                description=f"adbd on {one.name} dies in the middle of a push",
                act=lambda: one.fault(Fault.DIES_MID_PUSH, times=1),
                measured=measured,
                device=second,
                faults=_BROKEN,
            )
            for measured in (4, 11)
        ),
        Scene(
            description=f"the emulator of {one.name} is killed",
            act=lambda: kill(lab.pid(lab.owner(second), "emulator")),
            measured=7,
            device=second,
            faults=frozenset({"emulator_gone"}),
        ),
        Scene(
            description=f"{zero.name} gets hot",
            act=lambda: zero.state(thermal_status=_HOT),
            measured=9,
            reason="thermal",
        ),
        Scene(
            description=f"{zero.name} is cool again",
            act=lambda: zero.state(thermal_status=_COOL),
            after="thermal",
        ),
        Scene(
            description=f"{zero.name} begins to compute wrongly",
            act=lambda: zero.fault(Fault.WRONG_OUTPUT, runs="benchmark"),
            measured=13,
            reason="parity",
        ),
        Scene(
            description=f"{zero.name} computes rightly again",
            act=lambda: zero.heal(Fault.WRONG_OUTPUT),
            after="parity",
        ),
    ]
