"""Data that quantizers need besides the fp32 file: calibration samples and options."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from nnlite.errors import NnliteError
from nnlite.vocabulary import Int8Io

#: One value for each input of the artifact, in their order.
Sample = tuple[NDArray[Any], ...]


class NoCalibrationData(NnliteError):
    """There are no samples that this model can be calibrated on."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Calibration samples and options of the quantizers."""

    samples: Sequence[Sample]
    #: Why there are no samples; None: there are.
    why_none: str | None
    #: Types of an int8 artifact's inputs and outputs.
    int8_io: Int8Io
    threads: int
