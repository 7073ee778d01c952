"""Builds the app for a Linux host: its own classes and native library, real framework Java (Robolectric).

Nothing of the app is replaced. Robolectric loads the framework of one Android version; the TensorFlow Lite
library is that of the APK, unmodified, on the shim of `shim`.
"""

import shutil
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from apk import APP, BuildError
from apk.assembling import assemble
from apk.building import MANIFEST, SOURCES, Toolchain, completed_manifest
from apk.lock import Dependency, Use, locked, properties
from apk.shim import build_shim, compile_for
from apk.virtual import write_virtual

HOST_SOURCES: Final = APP / "src" / "host" / "java"
MAIN: Final = "org.nnlite.benchmark.AppHost"
#: The framework of each API level, by the beginning of its version.
LEVELS: Final = {26: "8.0.0", 30: "11-", 34: "14-", 35: "15-"}
_ABI: Final = "x86_64"
_LIBRARY: Final = "libtensorflowlite_jni.so"
#: Runs an artifact with the library for arm64.
RUNNER: Final = "run_artifact"
#: What the folder of a built app contains; the first, written last, lists its class path.
_CLASS_PATH, _CONFIG, _JARS = "class_path", "config", "jars"
_APP, _VIRTUAL, _RUNTIME, _FRAMEWORKS = "app", "virtual", "runtime", "frameworks"
#: What Robolectric reflects on.
_OPEN: Final = ("java.lang", "java.util", "java.io", "java.net", "java.security", "java.text")


@dataclass(frozen=True)
class HostApp:
    """The app, compiled for this host: a folder with all that it needs but Java itself, which can be moved.

    Its processes run in that folder.
    """

    folder: Path
    #: Folder of the native libraries; None: those that were built with it.
    runtime: Path | None = None

    @property
    def is_built(self) -> bool:
        """Whether the app was built, to the end."""
        return (self.folder / _CLASS_PATH).exists()

    def command(self, level: int, *, virtual: bool = False) -> list[str]:
        """Return the command line that serves runs on the framework of an API level.

        Args:
            level: of Android.
            virtual: with clocks and files of a virtual device instead of this machine's; see `virtual`.
        """
        class_path = (self.folder / _CLASS_PATH).read_text("utf-8").split()
        return [
            "java",
            *(word for name in _OPEN for word in ("--add-opens", f"java.base/{name}=ALL-UNNAMED")),
            # The simplest compiler and collector: most of the time is the start.
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Xmx512m",
            # Classes that the app's own tests have verified are not verified again for each virtual device.
            *(("-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote") if virtual else ()),
            "-Drobolectric.offline=true",
            f"-Drobolectric.dependency.dir={self.folder / _FRAMEWORKS}",
            f"-Drobolectric.enabledSdks={level}",
            *(f"-Drobolectric.{name}Mode=LEGACY" for name in ("graphics", "sqlite")),
            "-Drobolectric.conscryptMode=OFF",
            # Not shadowed: the runtime's native methods are real, and both see one device.
            "-Dorg.robolectric.packagesToNotAcquire=org.tensorflow.lite,org.nnlite.host",
            f"-Djava.library.path={self._libraries}",
            "-cp",
            ":".join([_VIRTUAL, *class_path] if virtual else class_path),
            MAIN,
        ]  # fmt: skip

    def environment(self, level: int, log: Path) -> Mapping[str, str]:
        """Return variables of the process: where the runtime logs, and what it takes for its Android."""
        return {
            "LD_LIBRARY_PATH": str(self._libraries),
            "NNLITE_ANDROID_LOG": str(log),
            "NNLITE_ANDROID_API": str(level),
            # If there is a GPU's library, Mesa's needs no display.
            "EGL_PLATFORM": "surfaceless",
        }

    @property
    def _libraries(self) -> Path:
        return self.runtime or self.folder / _RUNTIME


def host_dependencies(levels: Iterable[int]) -> list[Dependency]:
    """Return what a run on the frameworks of these API levels needs besides the app's own dependencies.

    Raises:
        BuildError: there is no framework of a level.
    """
    if unknown := sorted(set(levels) - LEVELS.keys()):
        raise BuildError(f"no framework of API {unknown[0]}: choose among {', '.join(map(str, LEVELS))}")
    return [*locked(Use.HOST), *_frameworks(levels)]


def _frameworks(levels: Iterable[int]) -> list[Dependency]:
    versions = tuple(LEVELS[level] for level in levels)
    return [one for one in locked(Use.FRAMEWORK) if one.coordinate.split(":")[2].startswith(versions)]


def remove_host_app(folder: Path) -> None:
    """Remove a built app, whole or not.

    Raises:
        BuildError: the folder has files, and none of a built app.
    """
    found = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
    if found and not found & {_APP, _CLASS_PATH}:
        raise BuildError(f"{folder} has {min(found)} and is no built app: name an empty or a new folder")
    shutil.rmtree(folder, ignore_errors=True)


def build_host_app(tools: Toolchain, folder: Path, levels: Iterable[int]) -> None:
    """Build `HostApp` with the frameworks of these levels into an empty folder, from a filled cache."""
    jars = [library / "classes.jar" for library in tools.libraries]
    robolectric = [_classes(tools, dependency) for dependency in locked(Use.HOST)]
    tests = tools.cache.files(Use.TEST)
    app, host = folder / _APP, folder / "host"
    tools.compile(SOURCES.rglob("*.java"), [tools.platform, *jars], app)
    tools.compile(HOST_SOURCES.rglob("*.java"), [app, *jars, *robolectric, *tests, tools.platform], host)
    write_virtual([app, *jars], folder / _VIRTUAL)
    _write_config(tools, folder)
    build_runtime(tools, folder / _RUNTIME)
    assemble(tools.cache, _ABI, folder / _RUNTIME)
    for dependency in _frameworks(levels):
        _copy(tools.cache.file(dependency), folder / _FRAMEWORKS / dependency.name)
    # The platform last: only for what is loaded outside Robolectric's own class loader.
    class_path = [_CONFIG, host.name, app.name]
    for number, jar in enumerate([*jars, *robolectric, *tests, tools.platform]):
        class_path.append(f"{_JARS}/{number}.jar")
        _copy(jar, folder / class_path[-1])
    (folder / _CLASS_PATH).write_text("\n".join(class_path), "utf-8")


def _copy(source: Path, target: Path) -> None:
    """Copy a file; on the same file system without a second one of some hundred megabytes."""
    target.parent.mkdir(exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def build_runtime(tools: Toolchain, folder: Path, abi: str = _ABI) -> None:
    """Write the app's unmodified TensorFlow Lite library of an ABI and its shim into `folder`.

    For phones' own ABI, arm64-v8a, there is also a program that runs an artifact with it, and the C library
    of both, for qemu-user.

    Raises:
        BuildError: a compiler is missing or fails.
    """
    (library,) = (found for one in tools.libraries for found in (one / "jni" / abi).glob(_LIBRARY))
    build_shim([library], folder, abi)
    shutil.copy(library, folder / _LIBRARY)
    if abi == _ABI:
        return
    (folder / "lib").mkdir(exist_ok=True)
    for name in ("ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libdl.so.2"):
        of_compiler = compile_for(abi, [f"-print-file-name={name}"]).strip()
        shutil.copy(of_compiler, folder / "lib" / name)
    source = APP / "src" / "host" / "arm64" / f"{RUNNER}.c"
    compile_for(abi, ["-O2", "-Wall", "-Werror", "-o", folder / RUNNER, source])


def _classes(tools: Toolchain, dependency: Dependency) -> Path:
    if dependency.name.endswith(".aar"):
        return tools.cache.unpacked(dependency) / "classes.jar"
    return tools.cache.file(dependency)


def _write_config(tools: Toolchain, home: Path) -> None:
    """Write what Robolectric reads about the app: its merged manifest, and its resources."""
    words = properties()
    folder = home / _CONFIG
    settings = folder / "com" / "android" / "tools" / "test_config.properties"
    settings.parent.mkdir(parents=True)
    provider = folder / "META-INF" / "services" / "org.robolectric.pluginapi.SdkProvider"
    provider.parent.mkdir(parents=True)
    provider.write_text("org.nnlite.benchmark.OneFramework\n")
    linked, resources = folder / "linked.apk", folder / "resources.apk"
    plain = folder / "plain.xml"
    plain.write_text(completed_manifest(MANIFEST.read_text("utf-8"), words["applicationId"]), "utf-8")
    tools.link(plain, words, linked)
    # Deflated: the framework of API 26 reads no stored entries through Robolectric.
    with zipfile.ZipFile(linked) as source, zipfile.ZipFile(resources, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    lowest, aimed_at = words["minSdk"], words["targetSdk"]
    levels = f'<uses-sdk android:minSdkVersion="{lowest}" android:targetSdkVersion="{aimed_at}" />'
    manifest = folder / "AndroidManifest.xml"
    manifest.write_text(
        plain.read_text("utf-8").replace("<application", f"{levels}\n<application", 1), "utf-8"
    )
    settings.write_text(
        f"android_merged_manifest={manifest.relative_to(home)}\n"
        f"android_resource_apk={resources.relative_to(home)}\n"
        f"android_custom_package={words['applicationId']}\n",
        "utf-8",
    )
