"""Parses and validates `--device` and `--pool` of `nnlite worker benchmark`."""

import re
import socket
from dataclasses import dataclass

from nnlite.errors import UsageError
from nnlite.vocabulary import HOST_POOL

_FORMS = "avd:NAME (an emulator), usb:SERIAL or tcp:HOST:PORT (a phone), or host (this machine)"
#: Names of AVDs that the SDK's avdmanager accepts.
_AVD_NAME = re.compile(r"[A-Za-z0-9._-]+")
_SERIAL = re.compile(r"[^\s/:][^\s/]*")
_ADDRESS = re.compile(r"(?P<host>[^\s:/]+):(?P<port>[0-9]{1,5})")
#: Characters replaced in the name of a Celery node, where `@` ends the name and `%` starts a variable.
_UNSAFE_IN_NODE = re.compile(r"[^A-Za-z0-9._:-]")


@dataclass(frozen=True, kw_only=True)
class DeviceArgument:
    """A device as named on the command line, and its pool."""

    text: str
    pool: str

    @property
    def on_host(self) -> bool:
        """Whether it is this machine."""
        return self.text == "host"

    @property
    def scheme(self) -> str:
        """`avd`, `usb`, `tcp` or `host`."""
        return self.text.partition(":")[0]

    @property
    def target(self) -> str:
        """The part after the scheme: an AVD's name, a serial or HOST:PORT; empty for the host."""
        return self.text.partition(":")[2]

    @property
    def device_name(self) -> str:
        """Name of the device, unique in an installation; an AVD's includes its host."""
        return f"{self.text}@{socket.gethostname()}" if self.scheme == "avd" else self.text

    @property
    def worker_name(self) -> str:
        """Name of its worker, unique on this host and valid as the name of a Celery node."""
        return _UNSAFE_IN_NODE.sub("-", f"benchmark-{self.text}")


def device_argument(text: str, pool: str | None) -> DeviceArgument:
    """Parse `--device` and `--pool`.

    Raises:
        UsageError: the device has none of the known forms, or its pool is missing.
    """
    if (problem := _problem(text)) is not None:
        raise UsageError(f"--device {text}: {problem}; write {_FORMS}")
    if text == "host":
        return DeviceArgument(text=text, pool=pool or HOST_POOL)
    if not pool:
        raise UsageError(
            f"--device {text} needs --pool: the name of its set of interchangeable devices, "
            "such as --pool pixel4-api30"
        )
    if pool == HOST_POOL:
        raise UsageError(
            f"--pool {HOST_POOL} is that of machines, not of {text}: devices of a pool are interchangeable; "
            "choose another, such as --pool pixel4-api30"
        )
    return DeviceArgument(text=text, pool=pool)


def _problem(text: str) -> str | None:
    scheme, separator, rest = text.partition(":")
    match scheme, separator:
        case "host", "":
            return None
        case "avd", ":":
            valid = _AVD_NAME.fullmatch(rest)
            return None if valid else "an AVD's name has letters, digits, dot, dash and underscore only"
        case "usb", ":":
            return None if _SERIAL.fullmatch(rest) else "a serial is missing, or is none"
        case "tcp", ":":
            address = _ADDRESS.fullmatch(rest)
            return None if address and 0 < int(address["port"]) < 1 << 16 else "not HOST:PORT"
    return "no such device"
