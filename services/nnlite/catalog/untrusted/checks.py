"""Checks that a model file is complete, of its format and unchanged; none of it is unpickled or executed."""

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from nnlite.catalog.model import CatalogError
from nnlite.host.files import file_sha256

#: Largest file of Python that is read, bytes.
MAX_CODE_BYTES: Final = 4 << 20
#: Code of TorchScript in its archive.
_SCRIPT: Final = re.compile(r"[^/]+/code/.+\.py")
#: First bytes of what is often downloaded instead of a file: what it is, and what to do.
_NOT_THE_FILE: Final = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself: fetch that with git lfs pull"),
    (b"<!doctype html", "a web page (HTML), not the file itself: download that"),
    (b"<html", "a web page (HTML), not the file itself: download that"),
)
#: First bytes of a file that torch.save wrote before PyTorch 1.6, or writes so on request.
_OLD_CHECKPOINT: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MAX_ENTRIES: Final = 100_000
#: The format's own limit (https://github.com/huggingface/safetensors, "Format").
_MAX_HEADER_BYTES: Final = 100_000_000


def read_code(file: Path) -> str:
    """Return the text of a file of Python.

    Raises:
        CatalogError: it cannot be read, is too large, or is no UTF-8.
    """
    try:
        if file.stat().st_size > MAX_CODE_BYTES:
            raise CatalogError(f"{file} has {file.stat().st_size:,} bytes, too many for code")
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CatalogError(f"{file} is not Python: it is not UTF-8") from error
    except OSError as error:
        raise CatalogError(f"{file} cannot be read: {error.strerror}") from error


def check(file: Path, max_mb: int) -> None:
    """Check that `file` is complete and of the format that its suffix says, as far as its structure tells.

    Raises:
        CatalogError: what is wrong with it, in one line.
    """
    try:
        size = file.stat().st_size
        if size > max_mb << 20:
            raise CatalogError(
                f"{file} has {size >> 20:,} MiB, above the limit of {max_mb:,}; "
                "NNLITE_CATALOG__MAX_FILE_MB raises it"
            )
        _require_itself(file, size)
        _CHECKS[file.suffix](file, size)
    except OSError as error:
        raise CatalogError(f"{file} cannot be read: {error.strerror}") from error


def unchanged_file(file: Path, sha256: str | None) -> Path:
    """Return `file`; CatalogError if it has changed or vanished since it was listed with this hash."""
    if not file.is_file() or file_sha256(file) != sha256:
        raise CatalogError(f"{file} has changed since it was listed; submit again to take it as it is now")
    return file


def _require_itself(file: Path, size: int) -> None:
    """Raise for what was downloaded instead of a file."""
    if not size:
        raise CatalogError(f"{file} is empty")
    with file.open("rb") as stream:
        head = stream.read(64).lstrip().lower()
    for start, what in _NOT_THE_FILE:
        if head.startswith(start):
            raise CatalogError(f"{file} is {what}")


def _program(file: Path, size: int) -> None:
    _torch_archive(file, size, "/models/model.json", "a program of torch.export.save")


def _checkpoint(file: Path, size: int) -> None:
    with file.open("rb") as stream:
        if stream.read(len(_OLD_CHECKPOINT)) == _OLD_CHECKPOINT:
            return  # a stream without a directory; weights alone are unpickled, in the sandbox
    _torch_archive(file, size, "/data.pkl", "a file of torch.save")


def _torch_archive(file: Path, size: int, inside: str, what: str) -> None:
    """Check the directory of an archive, in which torch compresses nothing: so nothing in it can swell."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CatalogError(f"{file} is not {what}: truncated, or not a zip archive ({error})") from error
    if any(_SCRIPT.fullmatch(entry.filename) for entry in entries):
        raise CatalogError(
            f"{file} is TorchScript (torch.jit.save), which cannot be exported; from the network itself save "
            "its weights, torch.save(network.state_dict(), 'net.pt') next to net.py, or all of it, "
            "torch.export.save(torch.export.export(network.eval(), (sample,)), 'net.pt2')"
        )
    packed = sum(entry.compress_size for entry in entries)
    swells = any(
        entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size
        for entry in entries
    )
    if swells or packed > size or len(entries) > _MAX_ENTRIES:
        raise CatalogError(f"{file} is not as torch writes files: it would unpack to more than it is")
    if not any(entry.filename.endswith(inside) for entry in entries):
        raise CatalogError(f"{file} is not {what}: nothing in it is called {inside.rpartition('/')[2]}")


def _safetensors(file: Path, size: int) -> None:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if length <= min(_MAX_HEADER_BYTES, size) else b""
    try:
        tensors = {name: each for name, each in json.loads(header).items() if name != "__metadata__"}
        end = max((int(each["data_offsets"][1]) for each in tensors.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise CatalogError(f"{file} is not a safetensors file: its header cannot be read") from error
    if end != size - 8 - length:
        raise CatalogError(f"{file} is truncated: {end:,} bytes of weights are announced")


def _tflite(file: Path, size: int) -> None:
    with file.open("rb") as stream:
        head = stream.read(8)
    if head[4:] != b"TFL3" or int.from_bytes(head[:4], "little") >= size:
        raise CatalogError(f"{file} is not a .tflite file: it does not start with that flatbuffer header")


_CHECKS: Final[Mapping[str, Callable[[Path, int], None]]] = {
    ".pt2": _program,
    ".pt": _checkpoint,
    ".pth": _checkpoint,
    ".safetensors": _safetensors,
    ".tflite": _tflite,
}
