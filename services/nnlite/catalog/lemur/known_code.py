"""Code of LEMUR's models that defines a network: known by its hash, it need not be parsed again.

Python's parser took more than half of the time of a first listing. `make shapes` writes the table from
nn-dataset 2.1.2; code that is not in it, such as an edited model's, is parsed.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

#: The committed table: the first bytes of the SHA-256 of each code, one after the other.
TABLE: Final = Path(__file__).with_name("lemur_code.bin")
_DIGEST_BYTES: Final = 6


def is_known(sha256: str) -> bool:
    """Return whether the code with this hash is in the table."""
    return _digest(sha256) in _known()


def table_of(hashes: Iterable[str]) -> bytes:
    """Return the table of the codes with these hashes."""
    return b"".join(sorted({_digest(sha256) for sha256 in hashes}))


def _digest(sha256: str) -> bytes:
    return bytes.fromhex(sha256[: 2 * _DIGEST_BYTES])


@cache
def _known() -> frozenset[bytes]:
    table = TABLE.read_bytes() if TABLE.exists() else b""
    return frozenset(table[at : at + _DIGEST_BYTES] for at in range(0, len(table), _DIGEST_BYTES))
