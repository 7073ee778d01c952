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
from apk.building import MANIFEST, SOURCES, Toolchain, completed_manifest
from apk.lock import Dependency, Use, locked, properties
from apk.shim import build_shim

HOST_SOURCES: Final = APP / "src" / "host" / "java"
MAIN: Final = "org.nnlite.benchmark.AppHost"
#: The framework of each API level, by the beginning of its version.
LEVELS: Final = {26: "8.0.0", 30: "11-", 34: "14-", 35: "15-"}
_ABI: Final = "x86_64"
_LIBRARY: Final = "libtensorflowlite_jni.so"
#: Folder of `HostApp` with the app's native library and the shim.
_RUNTIME: Final = "runtime"
#: What Robolectric reflects on.
_OPEN: Final = ("java.lang", "java.util", "java.io", "java.net", "java.security", "java.text")


@dataclass(frozen=True, kw_only=True)
class HostApp:
    """The app, compiled for this host; needs `LD_LIBRARY_PATH` and the variables of `environment`."""

    cache_folder: Path
    folder: Path
    class_path: tuple[Path, ...]

    def command(self, level: int) -> list[str]:
        """Return the command line that serves runs on the framework of an API level."""
        return [
            "java",
            *(word for name in _OPEN for word in ("--add-opens", f"java.base/{name}=ALL-UNNAMED")),
            # The simplest compiler: most of the time is the start.
            "-XX:TieredStopAtLevel=1",
            "-Drobolectric.offline=true",
            f"-Drobolectric.dependency.dir={self.cache_folder}",
            f"-Drobolectric.enabledSdks={level}",
            *(f"-Drobolectric.{name}Mode=LEGACY" for name in ("graphics", "sqlite")),
            "-Drobolectric.conscryptMode=OFF",
            # Not shadowed: its native methods are real.
            "-Dorg.robolectric.packagesToNotAcquire=org.tensorflow.lite",
            f"-Djava.library.path={self.folder / _RUNTIME}",
            "-cp",
            ":".join(map(str, self.class_path)),
            MAIN,
        ]  # fmt: skip

    def environment(self, level: int, log: Path) -> Mapping[str, str]:
        """Return variables of the process: where the runtime logs, and what it takes for its Android."""
        return {
            "LD_LIBRARY_PATH": str(self.folder / _RUNTIME),
            "NNLITE_ANDROID_LOG": str(log),
            "NNLITE_ANDROID_API": str(level),
        }


def host_dependencies(levels: Iterable[int]) -> list[Dependency]:
    """Return what a run on the frameworks of these API levels needs besides the app's own dependencies.

    Raises:
        BuildError: there is no framework of a level.
    """
    if unknown := sorted(set(levels) - LEVELS.keys()):
        raise BuildError(f"no framework of API {unknown[0]}: choose among {', '.join(map(str, LEVELS))}")
    versions = tuple(LEVELS[level] for level in levels)
    frameworks = [one for one in locked(Use.FRAMEWORK) if one.coordinate.split(":")[2].startswith(versions)]
    return [*locked(Use.HOST), *frameworks]


def build_host_app(tools: Toolchain, folder: Path) -> HostApp:
    """Compile the app and what serves it into an empty folder; the cache has its dependencies."""
    jars = [library / "classes.jar" for library in tools.libraries]
    robolectric = [_classes(tools, dependency) for dependency in locked(Use.HOST)]
    tests = tools.cache.files(Use.TEST)
    app, host = folder / "app", folder / "host"
    tools.compile(SOURCES.rglob("*.java"), [tools.platform, *jars], app)
    tools.compile(HOST_SOURCES.rglob("*.java"), [app, *jars, *robolectric, *tests, tools.platform], host)
    config = _config(tools, folder / "config")
    build_runtime(tools, folder / _RUNTIME)
    return HostApp(
        cache_folder=tools.cache.folder,
        folder=folder,
        # The platform last: only for what is loaded outside Robolectric's own class loader.
        class_path=(config, host, app, *jars, *robolectric, *tests, tools.platform),
    )


def build_runtime(tools: Toolchain, folder: Path) -> None:
    """Write the app's unmodified TensorFlow Lite library for this host and its shim into `folder`."""
    (library,) = (found for one in tools.libraries for found in (one / "jni" / _ABI).glob(_LIBRARY))
    build_shim(library, folder)
    shutil.copy(library, folder / _LIBRARY)


def _classes(tools: Toolchain, dependency: Dependency) -> Path:
    if dependency.name.endswith(".aar"):
        return tools.cache.unpacked(dependency) / "classes.jar"
    return tools.cache.file(dependency)


def _config(tools: Toolchain, folder: Path) -> Path:
    """Write what Robolectric reads about the app: its merged manifest, and its resources."""
    words = properties()
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
        f"android_merged_manifest={manifest}\nandroid_resource_apk={resources}\n"
        f"android_custom_package={words['applicationId']}\n",
        "utf-8",
    )
    return folder
