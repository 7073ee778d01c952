"""Synthetic digits: pictures of ten classes that a small network learns in a second."""

from pathlib import Path

import numpy as np
from PIL import Image

#: Three by five pixels each.
_FONT = (
    "111101101101111", "010110010010111", "111001111100111", "111001111001111", "101101111001001",
    "111100111001111", "111100111101111", "111001001001001", "111101111101111", "111101111001111",
)  # fmt: skip


def digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return grey pictures (N, 28, 28), white on black, shifted and noisy, and the digits that they show."""
    chance = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    pictures = np.zeros((count, 28, 28))
    for picture, label in zip(pictures, labels, strict=True):
        glyph = np.array(list(_FONT[label]), float).reshape(5, 3)
        top, left = chance.integers(2, 6), chance.integers(5, 10)
        picture[top : top + 20, left : left + 12] = np.kron(glyph, np.ones((4, 4))) * 200
    noisy = pictures + chance.normal(0, 100, pictures.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), labels


def save_folder(folder: Path, count: int, seed: int) -> Path:
    """Write digits as a folder with a sub-folder of PNG files for each."""
    for number, (picture, label) in enumerate(zip(*digits(count, seed), strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place / f"{number}.png")
    return folder
