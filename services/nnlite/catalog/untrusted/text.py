"""Reads text and JSON files that other programs write, and may still be writing, without trusting them.

An unusable file raises `Unreadable`, whose message completes a sentence that begins with the file's name.
"""

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import orjson

#: No source file and no record of a training is larger; what is, is not read.
MAX_BYTES = 4 * 1024 * 1024


class Unreadable(Exception):
    """The file exists and cannot be used."""


def read_text(path: Path, within: Path) -> str | None:
    """Return the text of a file, its line ends unified, or None when there is none.

    Args:
        within: a resolved folder that links may not leave.

    Raises:
        Unreadable: it leads out of `within`, is not a regular file, too large, or no UTF-8 text.
    """
    try:
        if not path.resolve().is_relative_to(within):
            raise Unreadable(f"leads out of {within}")
        # Opening a pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unreadable("is not a regular file")
            content = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise Unreadable(f"is larger than {MAX_BYTES:,} bytes")
    try:
        return content.decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text: byte {error.start} is {content[error.start]:#04x}") from error


def parse_json(text: str) -> Any:
    """Return the value of a JSON text that Postgres and every other reader of JSON takes too.

    Raises:
        Unreadable: it is not JSON, or holds NaN, infinity, NUL, half a character or a number beyond 64 bits.
    """
    try:
        value = json.loads(text, parse_constant=_refused, parse_float=_finite)
        if b"\\u0000" in orjson.dumps(value):
            raise ValueError("it holds a NUL")
    except (ValueError, RecursionError, orjson.JSONEncodeError) as error:
        raise Unreadable(f"is not usable JSON: {error}") from error
    return value


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refused(digits)
