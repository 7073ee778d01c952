"""Assembles the app's own native library, which needs neither the NDK nor a C library."""

import os
from pathlib import Path
from typing import Final

from apk import APP
from apk.cache import Cache
from apk.commands import run
from apk.lock import Registry, Use, locked

LIBRARY: Final = "libnnlite_affinity.so"
_SOURCES: Final = APP / "src" / "main" / "assembly"
_TIMEOUT_S: Final = 60.0
#: Segments at 16 kB, as devices with such pages need; no build id, so that every build is the same.
_LINK: Final = (
    "-shared", "-soname", LIBRARY, "-z", "max-page-size=16384", "-z", "noexecstack", "-z", "noseparate-code",
    "--build-id=none",
)  # fmt: skip
#: Of each ABI: the beginning of the names of Debian's binutils, and their package; empty: this machine's own.
_TOOLS: Final = {"arm64-v8a": ("aarch64-linux-gnu-", "binutils-aarch64-linux-gnu"), "x86_64": ("", "")}


def assemble(cache: Cache, abi: str, folder: Path) -> Path:
    """Return the library of an ABI, assembled and linked into a folder.

    Raises:
        BuildError: a tool is missing or fails.
    """
    prefix, package = _TOOLS[abi]
    binaries, environment = "", {}
    if package:
        (dependency,) = (
            one
            for one in locked(Use.TOOL)
            if one.registry is Registry.DEBIAN and one.coordinate.startswith(f"{package}=")
        )
        root = cache.unpacked(dependency)
        binaries = f"{root / 'usr' / 'bin'}{os.sep}"
        environment = {"LD_LIBRARY_PATH": str(root / "usr" / "lib" / "x86_64-linux-gnu")}
    folder.mkdir(parents=True, exist_ok=True)
    part, library = folder / "affinity.o", folder / LIBRARY
    commands: dict[str, list[str | Path]] = {
        "as": ["-o", part, _SOURCES / f"affinity-{abi}.s"],
        "ld": [*_LINK, "-o", library, part],
    }
    for name, arguments in commands.items():
        run(
            [f"{binaries}{prefix}{name}", *arguments],
            timeout_s=_TIMEOUT_S,
            environment=environment,
            way_out="as and ld are of binutils, which gcc needs too; for arm64 Debian's libjansson4.",
        )
    part.unlink()
    return library
