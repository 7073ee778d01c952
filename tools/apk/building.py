"""Builds an unsigned APK reproducibly: compile, dex, link, pack."""

import os
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from apk import APP
from apk.assembling import LIBRARY, assemble
from apk.cache import Cache
from apk.commands import run
from apk.lock import Registry, Use, locked, properties
from apk.packing import pack

SOURCES: Final = APP / "src" / "main" / "java"
MANIFEST: Final = APP / "src" / "main" / "AndroidManifest.xml"
ABIS: Final = ("arm64-v8a", "x86_64")
STEP_TIMEOUT_S: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """The build tools of the lock file, in a filled cache."""

    cache: Cache

    @property
    def platform(self) -> Path:
        """Android's platform classes, as a jar."""
        (platform,) = self.cache.files(Use.PLATFORM)
        return platform

    @property
    def libraries(self) -> list[Path]:
        """The unpacked .aar files of the app's libraries."""
        return [self.cache.unpacked(dependency) for dependency in locked(Use.APP)]

    @property
    def bundletool(self) -> Path:
        """The jar with D8 and aapt2."""
        (dependency,) = (one for one in locked(Use.TOOL) if one.registry is Registry.NPM)
        return self.cache.unpacked(dependency) / "bundletool.jar"

    @property
    def aapt2(self) -> Path:
        """The resource compiler for x86-64 Linux."""
        program = self.bundletool.with_name("aapt2")
        if not program.exists():
            made = program.with_name(f"aapt2.{os.getpid()}")
            with zipfile.ZipFile(self.bundletool) as jar:
                made.write_bytes(jar.read("linux/aapt2"))
            made.chmod(0o755)
            made.replace(program)
        return program

    @property
    def apksigner(self) -> list[str | Path]:
        """The command line of Debian's apksigner."""
        folders = [self.cache.unpacked(one) for one in locked(Use.TOOL) if one.registry is Registry.DEBIAN]
        jars = sorted(jar for folder in folders for jar in (folder / "usr/share/java").glob("apksig*-*.jar"))
        return ["java", "-cp", _path(jars), "com.android.apksigner.ApkSignerTool"]

    def compile(self, sources: Iterable[Path], class_path: Sequence[Path], classes: Path) -> None:
        """Compile Java 8; any warning is an error."""
        options = ["--release", "8", "-Xlint:all,-options,-classfile", "-Werror", "-proc:none", "-g"]
        files = map(str, sorted(sources))
        run(
            ["javac", *options, "-encoding", "UTF-8", "-cp", _path(class_path), "-d", classes, *files],
            timeout_s=STEP_TIMEOUT_S,
            way_out="javac comes with the JDK (17).",
        )

    def dex(self, programs: Sequence[Path], min_sdk: str, folder: Path) -> None:
        """Translate classes and jars to Android's bytecode, without debug checks."""
        d8: list[str | Path] = ["java", "-Xmx1g", "-cp", self.bundletool, "com.android.tools.r8.D8"]
        options = ["--release", "--min-api", min_sdk, "--lib", str(self.platform)]
        run([*d8, *options, "--output", folder, *programs], timeout_s=STEP_TIMEOUT_S)

    def link(self, manifest: Path, words: Mapping[str, str], apk: Path) -> None:
        """Create an APK with the compiled manifest only."""
        levels = ["--min-sdk-version", words["minSdk"], "--target-sdk-version", words["targetSdk"]]
        version = ["--version-code", words["versionCode"], "--version-name", words["versionName"]]
        run(
            [self.aapt2, "link", "--manifest", manifest, "-I", self.platform, "-o", apk, *levels, *version],
            timeout_s=STEP_TIMEOUT_S,
        )


def build_unsigned(tools: Toolchain, folder: Path, apk: Path) -> None:
    """Build the app from its sources, with intermediate files in an empty folder."""
    words = properties()
    libraries = tools.libraries
    jars = [library / "classes.jar" for library in libraries]
    classes, dex, linked = folder / "classes", folder / "dex", folder / "linked"
    for place in (classes, dex, linked):
        place.mkdir(parents=True)

    tools.compile(SOURCES.rglob("*.java"), [tools.platform, *jars], classes)
    tools.dex([*sorted(classes.rglob("*.class")), *jars], words["minSdk"], dex)
    manifest = folder / "AndroidManifest.xml"
    manifest.write_text(completed_manifest(MANIFEST.read_text("utf-8"), words["applicationId"]), "utf-8")
    tools.link(manifest, words, folder / "linked.apk")
    with zipfile.ZipFile(folder / "linked.apk") as content:
        content.extractall(linked)

    pack(
        {path.relative_to(root).as_posix(): path for root in (linked, dex) for path in _files(root)}
        | {
            f"lib/{abi}/{path.name}": path
            for library in libraries
            for abi in ABIS
            for path in sorted((library / "jni" / abi).glob("*.so"))
        }
        | {f"lib/{abi}/{LIBRARY}": assemble(tools.cache, abi, folder / abi) for abi in ABIS},
        apk,
    )


def completed_manifest(manifest: str, package: str) -> str:
    """Return the manifest with the attributes that Gradle adds itself and rejects in the source."""
    named = re.sub(r"<manifest\b", f'<manifest package="{package}"', manifest, count=1)
    return re.sub(r"<application\b", '<application android:extractNativeLibs="false"', named, count=1)


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def _path(jars: Iterable[Path]) -> str:
    return ":".join(str(jar) for jar in jars)
