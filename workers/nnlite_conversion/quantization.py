"""Every precision but fp32 is made from the fp32 file; each has one function here."""

from collections.abc import Callable, Mapping
from pathlib import Path

from nnlite.failures import NnliteError
from nnlite.vocabulary import Precision

#: Takes the fp32 artifact and the path to write to.
Quantizer = Callable[[Path, Path], None]

QUANTIZERS: Mapping[Precision, Quantizer] = {}


class UnsupportedPrecision(NnliteError):
    """A precision that this version cannot make."""


def supported_precisions() -> tuple[Precision, ...]:
    """Return the precisions that artifacts can be made in."""
    return (Precision.FP32, *QUANTIZERS)


def check_precisions(precisions: tuple[Precision, ...]) -> None:
    """Raise unless every one of `precisions` can be made.

    Raises:
        UnsupportedPrecision: names the first that cannot, and those that can.
    """
    for precision in precisions:
        if precision not in supported_precisions():
            supported = ", ".join(supported_precisions())
            raise UnsupportedPrecision(f"precision {precision} cannot be made yet; supported: {supported}")
