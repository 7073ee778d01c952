"""Reads the app's lock file (`dependencies.toml`) and its Gradle properties."""

import re
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from apk import APP, BuildError

LOCK: Final = APP / "dependencies.toml"
PROPERTIES: Final = APP / "gradle.properties"


class Registry(StrEnum):
    """Registry of a file, which decides the client that fetches it."""

    MAVEN = "maven"
    NPM = "npm"
    DEBIAN = "debian"


class Use(StrEnum):
    """Use of a file in the build."""

    APP = "app"  # packed into the APK
    PLATFORM = "platform"  # Android's platform classes, to compile against
    TOOL = "tool"
    TEST = "test"
    HOST = "host"  # runs the app on this machine
    FRAMEWORK = "framework"  # Android's framework of one version, for that


@dataclass(frozen=True, kw_only=True)
class Dependency:
    """One file of a registry, pinned by its hash."""

    registry: Registry
    #: In the format of the registry's client: `group:artifact:version:type`, `name@version`, `name=version`.
    coordinate: str
    sha256: str
    use: Use

    @property
    def name(self) -> str:
        """The file's name in the cache."""
        match self.registry:
            case Registry.MAVEN:
                _, artifact, version, kind = self.coordinate.split(":")
                return f"{artifact}-{version}.{kind}"
            case Registry.NPM:
                return self.coordinate.replace("@", "-") + ".tgz"
            case Registry.DEBIAN:
                return self.coordinate.replace("=", "_") + ".deb"


def properties() -> dict[str, str]:
    """Return the entries of gradle.properties."""
    lines = (line.strip() for line in PROPERTIES.read_text("utf-8").splitlines())
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


def locked(*uses: Use) -> tuple[Dependency, ...]:
    """Return the dependencies of the lock file, optionally only those with the given uses.

    Raises:
        BuildError: the lock file has an entry that makes no sense.
    """
    versions = properties()
    try:
        entries = tomllib.loads(LOCK.read_text("utf-8"))
        dependencies = tuple(
            Dependency(
                registry=Registry(registry),
                coordinate=entry["coordinate"].format(**versions),
                sha256=_hash(entry["sha256"]),
                use=Use(entry["use"]),
            )
            for registry, of_registry in entries.items()
            for entry in of_registry
        )
    except (tomllib.TOMLDecodeError, KeyError, ValueError) as error:
        raise BuildError(f"{LOCK} cannot be read: {error}") from error
    return tuple(one for one in dependencies if not uses or one.use in uses)


def _hash(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"{text!r} is no sha256")
    return text
