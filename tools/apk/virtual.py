"""Gives the app, off the device, clocks and files of a virtual device: some calls of the JDK lead elsewhere.

Only the constant pool of a class file changes: a reference to a static method of the JDK becomes one to the
method of the same name and type of `VirtualDevice`. All code stays as it was compiled.
https://docs.oracle.com/javase/specs/jvms/se17/html/jvms-4.html#jvms-4.4
"""

import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from apk import BuildError

DEVICE: Final = "org/nnlite/host/VirtualDevice"
#: Classes, and those of the static methods that they call which tell time or find files.
REDIRECTED: Final[Mapping[str, frozenset[tuple[str, str]]]] = {
    "org/nnlite/benchmark/AppRun": frozenset({("java/lang/System", "nanoTime")}),
    "org/tensorflow/lite/NativeInterpreterWrapper": frozenset({("java/lang/System", "nanoTime")}),
    "org/nnlite/benchmark/AndroidSurroundings": frozenset(
        {("java/time/Instant", "now"), ("java/nio/file/Paths", "get")}
    ),
}
_MAGIC: Final = 0xCAFEBABE
_HEADER: Final = struct.Struct(">IHHH")
_UTF8, _CLASS, _METHOD = 1, 7, 10
#: Bytes after the tag, but of texts; numbers of 8 bytes take two places in the pool.
_SIZES: Final = {
    3: 4,
    4: 4,
    5: 8,
    6: 8,
    7: 2,
    8: 2,
    9: 4,
    10: 4,
    11: 4,
    12: 4,
    15: 3,
    16: 2,
    17: 4,
    18: 4,
    19: 2,
    20: 2,
}
_WIDE: Final = (5, 6)


def write_virtual(class_path: Sequence[Path], folder: Path) -> None:
    """Write the redirected classes into a folder, which goes before the class path.

    Raises:
        BuildError: a class is not there, or does not call what it is known to call.
    """
    for name, calls in REDIRECTED.items():
        file = folder / f"{name}.class"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(redirected(_class_file(name, class_path), calls))


def redirected(code: bytes, calls: frozenset[tuple[str, str]]) -> bytes:
    """Return a class file whose calls of these methods (class, name) lead to the virtual device.

    Raises:
        BuildError: it is no class file, or does not call one of them.
    """
    magic, minor, major, count = _HEADER.unpack_from(code)
    if magic != _MAGIC:
        raise BuildError("not a Java class file")
    pool = {index: (tag, data) for index, tag, data in _constants(code, count)}
    end = _HEADER.size + sum(1 + len(data) for _, data in pool.values())
    found = set()
    for index, (tag, data) in pool.items():
        if tag == _METHOD:
            owner, signature = struct.unpack(">HH", data)
            call = _text(pool, _first(pool[owner])), _text(pool, _first(pool[signature]))
            if call in calls:
                found.add(call)
                pool[index] = _METHOD, struct.pack(">HH", count + 1, signature)
    if missing := sorted(calls - found):
        raise BuildError(f"a class does not call {missing[0]} any more: correct REDIRECTED in {__file__}")
    name = DEVICE.encode()
    pool[count] = _UTF8, struct.pack(">H", len(name)) + name
    pool[count + 1] = _CLASS, struct.pack(">H", count)
    constants = b"".join(bytes([tag]) + data for tag, data in pool.values())
    return _HEADER.pack(magic, minor, major, count + 2) + constants + code[end:]


def _constants(code: bytes, count: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield index, tag and bytes of each constant."""
    at, index = _HEADER.size, 1
    while index < count:
        tag = code[at]
        size = 2 + struct.unpack_from(">H", code, at + 1)[0] if tag == _UTF8 else _SIZES[tag]
        yield index, tag, code[at + 1 : at + 1 + size]
        at += 1 + size
        index += 2 if tag in _WIDE else 1


def _first(constant: tuple[int, bytes]) -> int:
    """Return what a class or a name with its type refers to first: its name."""
    (index,) = struct.unpack_from(">H", constant[1])
    return int(index)


def _text(pool: Mapping[int, tuple[int, bytes]], index: int) -> str:
    return pool[index][1][2:].decode()


def _class_file(name: str, class_path: Sequence[Path]) -> bytes:
    for place in class_path:
        if (file := place / f"{name}.class").is_file():
            return file.read_bytes()
        if place.suffix == ".jar":
            with zipfile.ZipFile(place) as jar:
                if f"{name}.class" in jar.namelist():
                    return jar.read(f"{name}.class")
    raise BuildError(f"there is no class {name}")
