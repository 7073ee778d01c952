"""Differences between two JSON values, field by field: of a record as stored and as derived again."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

#: Relative difference of two floats up to which they are equal: sums are rounded differently by other CPUs.
TOLERANCE: Final = 1e-9
#: Characters.
_LONGEST_MESSAGE: Final = 500


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One field whose stored value is not the derived one."""

    #: Path in the record, such as `latency.median_ns` or `reasons[0]`.
    field: str
    stored: Any
    #: None: it cannot be derived, or is not there.
    derived: Any

    @classmethod
    def unreadable(cls, field: str, why: object) -> Self:
        """Return the difference of a stored value that cannot be read, for the reason given."""
        return cls(field=field, stored=" ".join(str(why).split())[:_LONGEST_MESSAGE], derived=None)


def differences(stored: Any, derived: Any, field: str = "") -> Iterator[Difference]:
    """Yield the fields that differ, in the order of `stored`; a missing field and null are the same."""
    if isinstance(stored, Mapping) and isinstance(derived, Mapping):
        for name in dict.fromkeys([*stored, *derived]):
            path = f"{field}.{name}" if field else str(name)
            yield from differences(stored.get(name), derived.get(name), path)
    elif isinstance(stored, list) and isinstance(derived, list) and len(stored) == len(derived):
        for number, pair in enumerate(zip(stored, derived, strict=True)):
            yield from differences(*pair, f"{field}[{number}]")
    elif not _equal(stored, derived):
        yield Difference(field=field, stored=stored, derived=derived)


def _equal(stored: Any, derived: Any) -> bool:
    if isinstance(stored, float) and isinstance(derived, int | float):
        return math.isclose(stored, derived, rel_tol=TOLERANCE)
    return bool(stored == derived)
