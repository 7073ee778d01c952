"""Parses the command line of the `emulator` program.

Options: developer.android.com/studio/run/emulator-commandline.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

# fmt: off
_VALUES: Final = frozenset(
    ("avd", "port", "ports", "gpu", "memory", "cores", "accel", "partition-size", "netdelay",
    "netspeed", "dns-server", "timezone", "prop", "sysdir", "datadir", "data", "cache", "skin",
    "camera-back", "camera-front", "engine", "grpc", "feature", "qemu-args", "snapshot",)
)
_FLAGS: Final = frozenset(
    ("no-window", "no-audio", "noaudio", "no-boot-anim", "no-snapshot", "no-snapshot-save",
    "no-snapshot-load", "force-snapshot-load", "no-snapstorage", "wipe-data", "no-accel",
    "no-metrics", "no-cache",
    "no-sim", "no-passive-gps", "no-location-ui", "verbose", "show-kernel", "read-only",
    "delay-adb", "no-direct-adb", "no-jni", "nojni", "qt-hide-window", "no-qt",)
)
_GPU_MODES: Final = frozenset(
    ("auto", "auto-no-window", "host", "guest", "swiftshader", "swiftshader_indirect", "swangle",
    "swangle_indirect", "angle", "angle_indirect", "angle9", "angle9_indirect", "off", "on",
    "lavapipe", "software",)
)
# fmt: on


class Exit(Exception):
    """The program ends with this text on stderr and code 1."""


@dataclass(kw_only=True)
class Options:
    """The command line, read."""

    values: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)

    @property
    def console_port(self) -> int:
        """The even port of the console; adbd has the next one."""
        return int(self.values.get("port", "5554")) & ~1

    @property
    def acceleration(self) -> str:
        """`on`, `off` or `auto`."""
        return "off" if "no-accel" in self.flags else self.values.get("accel", "auto")


def parse(arguments: Sequence[str]) -> Options:
    """Read the options, and check those with few values.

    Raises:
        Exit: an option is unknown or lacks its value.
    """
    options = Options()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word.startswith("@") and "avd" not in options.values:
            options.values["avd"] = word[1:]
            continue
        name = word.removeprefix("-")
        if word == name or name not in _VALUES | _FLAGS:
            raise Exit(f"unknown option: {word}\nplease use -help for a list of valid options")
        if name in _FLAGS:
            options.flags.add(name)
        elif not rest:
            raise Exit(f"option {word} requires a parameter. Please use -help-{name} for details")
        else:
            options.values[name] = rest.pop(0)
    _check(options)
    return options


def _check(options: Options) -> None:
    if options.values.get("gpu", "auto") not in _GPU_MODES:
        raise Exit(f"ERROR   | Invalid GPU mode '{options.values['gpu']}', use one of: on off host guest")
    if options.acceleration not in {"on", "off", "auto"}:
        raise Exit("ERROR   | '-accel' must be followed by one of: on off auto")
    port = options.values.get("port", "5554")
    if not port.isdigit() or not 5554 <= int(port) <= 5682:
        raise Exit("ERROR   | option -port must be followed by an integer between 5554 and 5682")
    if int(port) % 2:
        print(f"WARNING | option -port must be followed by an even integer, using port {int(port) - 1}")
