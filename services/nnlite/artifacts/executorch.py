"""ExecuTorch's numbers in words: types of tensors that a `.pte` artifact may have, and its error codes."""

import re
from typing import Final

#: Names of NumPy, by `ScalarType` (runtime/core/portable_type/scalar_type.h).
NUMPY_TYPES: Final = {
    0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64",
    11: "bool",
}  # fmt: skip
#: By `Error` (runtime/core/error.h).
_ERRORS: Final = {
    0x01: "internal error",
    0x02: "invalid state",
    0x03: "no more steps to run",
    0x04: "loaded already",
    0x10: "not supported",
    0x11: "not implemented",
    0x12: "invalid argument",
    0x13: "invalid type",
    0x14: "an operator has no kernel in this runtime",
    0x15: "too many kernels are registered",
    0x16: "a kernel is registered already",
    0x20: "not found",
    0x21: "memory cannot be allocated",
    0x22: "a file cannot be read",
    0x23: "the file is no program of this version of ExecuTorch, or is damaged",
    0x24: "the program's external data is damaged",
    0x25: "not enough resources",
    0x30: "the delegate is of another version",
    0x31: "the delegate cannot allocate memory",
    0x32: "the delegate has lost its state",
}
#: Its binding writes them as 0x12 and as 0x:12.
_CODE: Final = re.compile(r"\b0x:?([0-9a-f]+)$")


def in_words(message: str) -> str:
    """Return an error message of ExecuTorch with what its code means; another message as it is."""
    code = _CODE.search(message)
    meaning = code and _ERRORS.get(int(code[1], 16))
    return f"{message[: code.start()]}{meaning} (0x{code[1]})" if code and meaning else message
