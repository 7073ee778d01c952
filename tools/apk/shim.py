"""Builds the shim that lets the app's TensorFlow Lite library run on a Linux host with glibc.

The library of the APK is unmodified. It asks the loader for `libc.so`, `libm.so`, `libdl.so` and `liblog.so`
with symbols of version `LIBC`; the shim is four libraries of those names. Functions that are the same in both
C libraries are jumps to glibc; those that differ are in `android_app/src/host/shim/bionic.c`.
"""

import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from apk import APP
from apk.commands import run

SOURCE: Final = APP / "src" / "host" / "shim" / "bionic.c"
#: The libraries that the loader finds by `LD_LIBRARY_PATH`.
NAMES: Final = ("libc.so", "libm.so", "libdl.so", "liblog.so")
_TIMEOUT_S: Final = 120.0
#: A jump to glibc's function of the same name, through the table of addresses that the loader fills.
_JUMP: Final = """\
.globl jump_{name}
.type jump_{name}, %function
jump_{name}:
{jump}
.symver jump_{name}, {name}@LIBC
"""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the shim of one ABI is built with."""

    #: The beginning of the names of gcc and binutils.
    tools: str
    hint: str
    #: Instructions.
    jump: str


MACHINES: Final = {
    "x86_64": Machine(
        tools="", hint="gcc comes with Debian's build-essential.", jump="    jmp *{name}@GOTPCREL(%rip)"
    ),
    "arm64-v8a": Machine(
        tools="aarch64-linux-gnu-",
        hint="it comes with Debian's gcc-aarch64-linux-gnu and libc6-dev-arm64-cross.",
        jump="    adrp x16, :got:{name}\n    ldr x16, [x16, :got_lo12:{name}]\n    br x16",
    ),
}
#: What `nm` prints of a function that the library needs.
_UNDEFINED: Final = re.compile(r"\bU (\w+)@LIBC$", re.MULTILINE)
_OWN: Final = re.compile(r"\bAS\(\w+, (\w+)\)")


def build_shim(libraries: Iterable[Path], folder: Path, abi: str) -> None:
    """Build the four libraries that all of `libraries` need into `folder`.

    Raises:
        BuildError: the compiler is missing or fails, or glibc lacks a function.
    """
    folder.mkdir(parents=True, exist_ok=True)
    machine = MACHINES[abi]
    listed = run(
        [f"{machine.tools}nm", "-D", "--undefined-only", *libraries],
        timeout_s=_TIMEOUT_S,
        way_out=machine.hint,
    )
    needed = set(_UNDEFINED.findall(listed))
    own = set(_OWN.findall(SOURCE.read_text("utf-8")))
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        jumps = Path(temporary) / "jumps.s"
        jumps.write_text(
            ".text\n" + "".join(
                _JUMP.format(name=name, jump=machine.jump.format(name=name)) for name in sorted(needed - own)
            )
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
            libraries_of_host = ["-lm", "-ldl", "-Wl,-z,defs"]
            compile_for(abi, [*options, f"-Wl,-soname,{name}", "-o", made, *sources, *libraries_of_host])
            made.replace(folder / name)


def compile_for(abi: str, words: Sequence[str | Path]) -> str:
    """Run gcc for an ABI and return what it prints.

    Raises:
        BuildError: it is missing or fails.
    """
    machine = MACHINES[abi]
    return run([f"{machine.tools}gcc", *words], timeout_s=_TIMEOUT_S, way_out=machine.hint)
