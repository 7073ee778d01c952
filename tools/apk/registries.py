"""Downloads files from their registries with the registries' clients, as configured on this machine.

Each client keeps its caches in the given folder. Only Maven is ever installed:
for root, if it is missing. Nothing is trusted here: `cache` verifies the hashes.
"""

import os
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from apk import BuildError
from apk.commands import run
from apk.lock import Dependency, Registry

#: Base URL of a Maven repository to load from without Maven.
MAVEN_REPOSITORY: Final = "NNLITE_MAVEN_REPOSITORY"
TIMEOUT_S: Final = 600.0
DEPENDENCY_PLUGIN: Final = "3.6.1"


def fetch(dependencies: Sequence[Dependency], folder: Path) -> None:
    """Download all dependencies into the folder, under their names.

    Raises:
        BuildError: a client is missing, or does not find a file.
    """
    for registry, client in CLIENTS.items():
        if wanted := [one for one in dependencies if one.registry is registry]:
            client(wanted, folder)


def _maven(dependencies: Sequence[Dependency], folder: Path) -> None:
    if base := os.environ.get(MAVEN_REPOSITORY):
        for dependency in dependencies:
            _download(dependency, folder, base)
        return
    if not shutil.which("mvn"):
        _install_maven()
    items = "".join(
        f"<artifactItem><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version><type>{kind}</type></artifactItem>"
        for group, artifact, version, kind in (escape(one.coordinate).split(":") for one in dependencies)
    )
    project = folder / "pom.xml"
    project.write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>org.nnlite</groupId>"
        "<artifactId>fetch</artifactId><version>1</version><packaging>pom</packaging><build><plugins><plugin>"
        "<groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId>"
        f"<version>{DEPENDENCY_PLUGIN}</version><configuration>"
        f"<outputDirectory>{escape(str(folder))}</outputDirectory><artifactItems>{items}</artifactItems>"
        "</configuration></plugin></plugins></build></project>",
        "utf-8",
    )
    command = [
        "mvn",
        "-B",
        "-q",
        f"-Dmaven.repo.local={folder / 'maven'}",
        "-f",
        str(project),
        "dependency:copy",
    ]
    way_out = f"To load without Maven, set {MAVEN_REPOSITORY} to the URL of a repository."
    run(command, timeout_s=TIMEOUT_S, way_out=way_out)


def _install_maven() -> None:
    """Install Debian's Maven if that is allowed.

    Raises:
        BuildError: it is not; says what to do.
    """
    way_out = f"Install it (apt-get install maven), or set {MAVEN_REPOSITORY} to the URL of a repository."
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise BuildError(f"Maven is missing. {way_out}")
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "maven"]):
        run(["apt-get", "-q", *command], timeout_s=TIMEOUT_S, way_out=way_out)


def _download(dependency: Dependency, folder: Path, base: str) -> None:
    """Download a file over HTTPS from its standard path in a Maven repository."""
    group, artifact, version, _ = dependency.coordinate.split(":")
    url = "/".join([base.rstrip("/"), *group.split("."), artifact, version, dependency.name])
    if not url.startswith("https://"):
        raise BuildError(f"{MAVEN_REPOSITORY} is {base}: only https is taken")
    try:
        with (
            urllib.request.urlopen(url, timeout=60, context=ssl.create_default_context()) as answer,  # noqa: S310
            (folder / dependency.name).open("wb") as file,
        ):
            shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, TimeoutError) as error:
        raise BuildError(
            f"{url} cannot be loaded: {error}\nSet {MAVEN_REPOSITORY} to a repository that can be reached."
        ) from error


def _npm(dependencies: Sequence[Dependency], folder: Path) -> None:
    for dependency in dependencies:
        command = ["npm", "pack", "--silent", "--ignore-scripts", "--cache", str(folder / "npm")]
        run(
            [*command, "--pack-destination", folder, dependency.coordinate],
            timeout_s=TIMEOUT_S,
            cwd=folder,
            way_out="npm comes with Node; `npm config get registry` says where it looks.",
        )


def _debian(dependencies: Sequence[Dependency], folder: Path) -> None:
    """Download packages without installing them, with separate package lists."""
    lists = folder / "apt" / "lists"
    (lists / "partial").mkdir(parents=True)
    (folder / "apt" / "cache" / "archives" / "partial").mkdir(parents=True)
    options = [f"Dir::State::Lists={lists}", f"Dir::Cache={folder / 'apt' / 'cache'}"]
    # Otherwise apt switches to an account that may have no access to this folder.
    options += ["APT::Sandbox::User="]
    apt = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
    way_out = "The packages are Debian 12's; on another system, put its files into the cache yourself."
    run([*apt, "update"], timeout_s=TIMEOUT_S, way_out=way_out)
    for dependency in dependencies:
        place = folder / "apt" / dependency.coordinate.split("=")[0]
        place.mkdir()
        run(
            [*apt, "download", dependency.coordinate],
            timeout_s=TIMEOUT_S,
            cwd=place,
            way_out=f"Debian may have a newer version by now: `apt-cache policy` says which. Either put "
            f"{dependency.coordinate} from Debian's snapshot archive into the cache as {dependency.name}, "
            "or write the newer version and its sha256 into dependencies.toml.",
        )
        (package,) = place.glob("*.deb")
        package.rename(folder / dependency.name)


Client = Callable[[Sequence[Dependency], Path], None]
CLIENTS: Final[Mapping[Registry, Client]] = {
    Registry.MAVEN: _maven,
    Registry.NPM: _npm,
    Registry.DEBIAN: _debian,
}
