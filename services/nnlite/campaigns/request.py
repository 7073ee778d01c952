"""What a user asks for: the request that a campaign's name stands for."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from nnlite.artifacts.calibration import Calibration, Int8Io
from nnlite.catalog.lemur.configuration import BEST
from nnlite.catalog.model import canonical_json
from nnlite.errors import NnliteError
from nnlite.queue.app import DEFAULT_PRIORITY, PRIORITIES
from nnlite.vocabulary import Backend, Precision

#: Pool of the machine itself.
HOST_POOL = "host"


#: Fields that came later, and what they are where nobody says anything: then they are no part of a request,
#: so that names derived and requests stored before they came stay what they are.
_ADDED = {
    "path": (),
    "inputs": (),
    "layout": None,
    "configs": BEST,
    "calibration": None,
    "int8_io": Int8Io.FLOAT,
}


class RequestError(NnliteError):
    """A request that cannot be a campaign; the message names the value and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """These models x these precisions x these pools x these backends.

    The same name with the same request resumes; with another one it is an error.
    """

    source: str = "lemur"
    #: Names given one by one; empty: all that `match` leaves.
    models: tuple[str, ...] = ()
    match: str | None = None
    limit: int | None = None
    seed: int | None = None
    precisions: tuple[Precision, ...] = (Precision.FP32,)
    pools: tuple[str, ...] = (HOST_POOL,)
    backends: tuple[Backend, ...] = (Backend.CPU,)
    #: Only trials with this transform, this dataset; None: the catalogue's choice.
    transform: str | None = None
    dataset: str | None = None
    #: Where the source's files lie, absolute; empty: the source knows, or needs none.
    path: tuple[str, ...] = ()
    #: Every input of a network that does not tell, such as `1x3x224x224:float32`.
    inputs: tuple[str, ...] = ()
    #: How artifacts take images; None: as mobile runtimes do, unless the source says otherwise.
    layout: str | None = None
    #: How many configurations of each architecture: `best`, `all` or a number.
    configs: str = BEST
    #: What int8 is calibrated and parity is judged on; None: fp32 alone was asked for.
    calibration: Calibration | None = None
    #: What int8 artifacts take and return.
    int8_io: Int8Io = Int8Io.FLOAT

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if key not in _ADDED or value != _ADDED[key]
        }

    def default_name(self) -> str:
        """Return a name that is the same for the same request."""
        digest = hashlib.sha256(canonical_json(self.as_dict())).hexdigest()[:8]
        return f"{self.source}-{self.limit}-{digest}" if self.limit else f"{self.source}-{digest}"


def check_priority(priority: int = DEFAULT_PRIORITY) -> int:
    """Return `priority` if it is one.

    Raises:
        RequestError: it is not within 0-9.
    """
    if priority not in PRIORITIES:
        raise RequestError(f"priority {priority} is not within 0-9; larger is sooner, the default is 5")
    return priority
