"""One result of a check of `nnlite doctor`."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Subject, state and message of a check."""

    subject: str
    #: `ok`, `missing` (something does not work without it) or `note`.
    state: str
    message: str
