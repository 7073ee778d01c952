"""One result of a check of `nnlite doctor`."""

from typing import NamedTuple


class Finding(NamedTuple):
    """Subject, state and message of a check."""

    subject: str
    #: `ok`, `missing` (something does not work without it) or `note`.
    state: str
    message: str
