"""Builds the shim that lets the app's TensorFlow Lite library run on a Linux host with glibc.

The library of the APK is unmodified. It asks the loader for `libc.so`, `libm.so`, `libdl.so` and `liblog.so`
with symbols of version `LIBC`; the shim is four libraries of those names. Functions that are the same in both
C libraries are jumps to glibc; those that differ are in `android_app/src/host/shim/bionic.c`.
"""

import re
import tempfile
from pathlib import Path
from typing import Final

from apk import APP
from apk.commands import run

SOURCE: Final = APP / "src" / "host" / "shim" / "bionic.c"
#: The libraries that the loader finds by `LD_LIBRARY_PATH`.
NAMES: Final = ("libc.so", "libm.so", "libdl.so", "liblog.so")
_TIMEOUT_S: Final = 120.0
_COMPILER_HINT: Final = "gcc comes with Debian's build-essential."

#: A jump to glibc's function of the same name, through the table of addresses that the loader fills.
_JUMP: Final = """\
.globl jump_{name}
.type jump_{name}, @function
jump_{name}:
    jmp *{name}@GOTPCREL(%rip)
.symver jump_{name}, {name}@LIBC
"""
#: What `nm` prints of a function that the library needs.
_UNDEFINED: Final = re.compile(r"\bU (\w+)@LIBC$", re.MULTILINE)
_OWN: Final = re.compile(r"\bAS\(\w+, (\w+)\)")


def build_shim(library: Path, folder: Path, *, compiler: str = "gcc") -> None:
    """Build the four libraries that `library` needs into `folder`.

    Raises:
        BuildError: the compiler is missing or fails, or glibc lacks a function.
    """
    folder.mkdir(parents=True, exist_ok=True)
    needed = set(_UNDEFINED.findall(run(["nm", "-D", "--undefined-only", library], timeout_s=_TIMEOUT_S)))
    own = set(_OWN.findall(SOURCE.read_text("utf-8")))
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        jumps = Path(temporary) / "jumps.s"
        jumps.write_text(
            ".text\n" + "".join(_JUMP.format(name=name) for name in sorted(needed - own))
            + '.section .note.GNU-stack,"",@progbits\n',
            "utf-8",
        )  # fmt: skip
        empty = Path(temporary) / "empty.c"
        empty.write_text("int nnlite_shim_of_bionic = 1;\n", "utf-8")
        versions = Path(temporary) / "versions"
        versions.write_text("LIBC { global: *; };\n", "utf-8")
        options = ["-shared", "-fPIC", "-O2", "-Wall", "-Werror", f"-Wl,--version-script={versions}"]
        for name in NAMES:
            sources = [SOURCE, jumps] if name == "libc.so" else [empty]
            made = Path(temporary) / name
            run(
                [
                    compiler,
                    *options,
                    f"-Wl,-soname,{name}",
                    "-o",
                    made,
                    *sources,
                    "-lm",
                    "-ldl",
                    "-Wl,-z,defs",
                ],
                timeout_s=_TIMEOUT_S,
                way_out=_COMPILER_HINT,
            )
            made.replace(folder / name)
