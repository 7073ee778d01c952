"""One thing that `nnlite doctor` looked at."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was looked at, and what is to be said of it."""

    subject: str
    #: `ok`, `missing` (something does not work without it) or `note`.
    state: str
    message: str
