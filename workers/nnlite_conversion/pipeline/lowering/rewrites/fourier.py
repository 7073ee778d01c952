"""Discrete Fourier transforms as products with constant matrices, one for each dimension.

LiteRT has a transform of real numbers only, which no delegate runs. Complex numbers are given by two tensors.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nnlite_conversion.pipeline.lowering.rewrites.graph import constant

#: Largest matrix, bytes.
MAX_BYTES = 128 << 20

Pair = tuple[torch.Tensor, torch.Tensor]


class TooLong(NotImplementedError):
    """A transform whose matrix would not fit into a model."""


def of_real(x: torch.Tensor, dims: Sequence[int], norm: int, onesided: bool) -> Pair:
    """Return what `aten._fft_r2c` does: the transform of real numbers.

    Args:
        x: of any rank.
        dims: dimensions to transform; of the last one only the first half is kept where `onesided`.
        norm: 0: not scaled; 1: divided by the root of the number of elements; 2: by the number.
        onesided: whether to leave out the other, mirrored, half.
    """
    *others, last = dims
    size = x.shape[last]
    kept = size // 2 + 1 if onesided else size
    cosine, sine = _waves(size, kept)
    re, im = _product([x], np.hstack([cosine, -sine]) * _factor(size, norm), last).split(kept, last)
    return of_complex(re, im, others, norm, True) if others else (re, im)


def of_complex(re: torch.Tensor, im: torch.Tensor, dims: Sequence[int], norm: int, forward: bool) -> Pair:
    """Return what `aten._fft_c2c` does: the transform of complex numbers, or its inverse."""
    sign = -1 if forward else 1
    for dim in dims:
        size = re.shape[dim]
        cosine, sine = _waves(size, size)
        matrix = np.block([[cosine, sign * sine], [-sign * sine, cosine]]) * _factor(size, norm)
        re, im = _product([re, im], matrix, dim).split(size, dim)
    return re, im


def to_real(re: torch.Tensor, im: torch.Tensor, dims: Sequence[int], norm: int, size: int) -> torch.Tensor:
    """Return what `aten._fft_c2r` does: the inverse transform of the first half of a mirrored spectrum.

    Args:
        size: of the last of `dims` in the result.
    """
    *others, last = dims
    if others:
        re, im = of_complex(re, im, others, norm, False)
    kept = size // 2 + 1
    re, im = (part.narrow(last, 0, kept) for part in (re, im))
    cosine, sine = (wave.T for wave in _waves(size, kept))
    # All but the first element, and the middle one of an even size, stand for themselves and their mirror.
    mirrored = np.full((kept, 1), 2.0)
    mirrored[0] = 1
    if size % 2 == 0:
        mirrored[-1] = 1
    matrix = np.vstack([mirrored * cosine, -mirrored * sine]) * _factor(size, norm)
    return _product([re, im], matrix, last)


def _waves(size: int, frequencies: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return cosine and sine of 2 pi j k / size, j by row, k < frequencies by column."""
    if 4 * size * 2 * frequencies > MAX_BYTES:
        raise TooLong(
            f"a Fourier transform of {size} elements takes a matrix of more than {MAX_BYTES >> 20} MiB; "
            "transform shorter pieces"
        )
    # Reduced first: the angles of large products would be inexact.
    turns = np.outer(np.arange(size), np.arange(frequencies)) % size / size
    return np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)


def _product(parts: Sequence[torch.Tensor], matrix: NDArray[np.float64], dim: int) -> torch.Tensor:
    """Multiply the parts, one behind the other along `dim`, by a matrix.

    The product has two dimensions, which LiteRT runs as a fully connected layer.
    """
    moved = [part.movedim(dim, -1) for part in parts]
    joined = torch.cat(moved, -1) if len(moved) > 1 else moved[0]
    rows = joined.reshape(-1, joined.shape[-1]) @ constant(matrix, joined)
    result = rows.reshape(*joined.shape[:-1], matrix.shape[1])
    return result.movedim(-1, dim)


def _factor(size: int, norm: int) -> float:
    return {0: 1.0, 1: 1 / math.sqrt(size), 2: 1 / size}[norm]
