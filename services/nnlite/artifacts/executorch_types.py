"""Types of tensors that a `.pte` artifact may take and return: ExecuTorch's numbers, and NumPy's names."""

from typing import Final

#: By `ScalarType` (runtime/core/portable_type/scalar_type.h).
NUMPY_TYPES: Final = {
    0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64",
    11: "bool",
}  # fmt: skip
