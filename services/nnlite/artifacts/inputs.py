"""Seeded input tensors of artifacts: the same bytes on every machine.

Host parity, device parity and the measurement all use one input. It is made from
raw generator bits, whose stability NumPy guarantees, and not from NumPy's
distributions, whose stability it does not.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class ArtifactInput(Protocol):
    """An input of an artifact."""

    @property
    def shape(self) -> tuple[int, ...]:
        """In the artifact's layout."""

    @property
    def dtype(self) -> str:
        """NumPy name."""

    @property
    def quantization(self) -> tuple[float, int] | None:
        """Scale and zero point, value = scale x (integer - zero point); None: not quantized."""


def seeded_input(shape: Sequence[int], dtype: str, seed: int = 0) -> NDArray[np.generic]:
    """Return the input tensor of `shape` and `dtype` for `seed`.

    Element i, in row-major order, comes from the i-th 64-bit output r of
    `PCG64(seed)`:

    - floating: r's upper 24 bits as a number in [-1, 1), the range of a normalized image;
    - int8, uint8: r's upper 8 bits, so every value of the type;
    - wider integers: r's top bit, so 0 or 1, a valid index of any embedding;
    - bool: r's top bit.

    Args:
        shape: the tensor's dimensions, in the artifact's layout (images: N, H, W, C).

    Raises:
        ValueError: an unsupported dtype.
    """
    kind = np.dtype(dtype)
    raw = np.asarray(np.random.PCG64(seed).random_raw(math.prod(shape)), dtype=np.uint64)
    values: NDArray[np.generic]
    if kind.kind == "f":
        values = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)
    elif kind.kind in "iu" and kind.itemsize == 1:
        values = (raw >> np.uint64(56)).astype(np.uint8).view(kind)
    elif kind.kind in "iub":
        values = raw >> np.uint64(63)
    else:
        raise ValueError(f"no seeded input of dtype {dtype}: use a floating, integer or bool dtype")
    return values.astype(kind).reshape(tuple(shape))


def seeded_inputs(tensors: Iterable[tuple[Sequence[int], str]], seed: int = 0) -> list[NDArray[np.generic]]:
    """Return one input for each shape and dtype, the n-th from seed + n: equal shapes get different values.

    Raises:
        ValueError: as `seeded_input`.
    """
    return [seeded_input(shape, dtype, seed + number) for number, (shape, dtype) in enumerate(tensors)]


def artifact_inputs(tensors: Iterable[ArtifactInput], seed: int) -> list[NDArray[np.generic]]:
    """Return the seeded inputs in the artifact's types, the n-th from seed + n.

    A quantized input is the quantized seeded float input, so that all precisions of a model get the same
    image.
    """
    return [
        seeded_input(tensor.shape, tensor.dtype, number)
        if tensor.quantization is None
        else quantized(seeded_input(tensor.shape, "float32", number), tensor.dtype, *tensor.quantization)
        for number, tensor in enumerate(tensors, start=seed)
    ]


def sample_inputs(
    tensors: Sequence[ArtifactInput], samples: Sequence[NDArray[Any]]
) -> list[NDArray[np.generic]]:
    """Return samples in the artifact's types: those of its floats quantized where it takes integers.

    Args:
        samples: for each input: (samples, *shape).

    Raises:
        ValueError: the samples are not of these inputs.
    """
    shapes = [each.shape[1:] for each in samples], [tuple(tensor.shape) for tensor in tensors]
    if shapes[0] != shapes[1]:
        raise ValueError(f"samples have the shapes {shapes[0]}, the artifact's inputs {shapes[1]}")
    return [
        quantized(values, tensor.dtype, *tensor.quantization)
        if tensor.quantization is not None and values.dtype.kind == "f"
        else values.astype(tensor.dtype)
        for tensor, values in zip(tensors, samples, strict=True)
    ]


def write_inputs(
    tensors: Sequence[ArtifactInput],
    seed: int,
    folder: Path,
    samples: Sequence[NDArray[Any]] = (),
) -> list[Path]:
    """Write each input to a raw file in `folder`, and return the files in their order.

    They are the `artifact_inputs`, or the `sample_inputs` of all `samples`, one behind the other.
    """
    files = []
    made = sample_inputs(tensors, samples) if samples else artifact_inputs(tensors, seed)
    for number, tensor in enumerate(made):
        file = folder / f"input_{number}.raw"
        file.write_bytes(raw_bytes(tensor))
        files.append(file)
    return files


def quantized(values: NDArray[np.generic], dtype: str, scale: float, zero_point: int) -> NDArray[np.generic]:
    """Quantize `values` to integers of `dtype`; values beyond its range are clipped."""
    limits = np.iinfo(dtype)
    steps = np.rint(values.astype(np.float64) / scale) + zero_point
    integers: NDArray[np.generic] = np.clip(steps, limits.min, limits.max).astype(dtype)
    return integers


def dequantized(values: NDArray[np.generic], scale: float, zero_point: int) -> NDArray[np.float64]:
    """Dequantize `values`."""
    return (values.astype(np.float64) - zero_point) * scale


def raw_bytes(tensor: NDArray[np.generic]) -> bytes:
    """Return the tensor's elements as raw little-endian bytes in row-major order."""
    return np.ascontiguousarray(tensor).astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes()


def from_raw_bytes(raw: bytes, shape: Sequence[int], dtype: str) -> NDArray[np.generic]:
    """Return the tensor that `raw_bytes` wrote.

    Raises:
        ValueError: the length of `raw` does not match `shape` and `dtype`.
    """
    kind = np.dtype(dtype).newbyteorder("<")
    if len(raw) != math.prod(shape) * kind.itemsize:
        expected = math.prod(shape) * kind.itemsize
        raise ValueError(
            f"{len(raw)} bytes for a {dtype} tensor of shape {tuple(shape)}: expected {expected}"
        )
    return np.frombuffer(raw, kind).reshape(tuple(shape)).astype(np.dtype(dtype))
