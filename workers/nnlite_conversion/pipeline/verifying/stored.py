"""Checks the stored parity of an artifact: do its state and its measures fit together by the limits?

Its measures cannot be derived: PyTorch's outputs are not stored.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from nnlite.reports.differences import Difference
from nnlite.vocabulary import ParityState, Precision
from nnlite_conversion.pipeline.verifying.judging import MAX_RELATIVE, MIN_SQNR_DB


def contradictions(
    precision: Precision, state: ParityState, parity: Mapping[str, Any] | None
) -> Iterator[Difference]:
    """Yield what an artifact's parity says against itself.

    Args:
        precision: of the artifact.
        state: the column.
        parity: the fields of `outcome.Parity` as JSON; None: there was no network to compare with.
    """
    if parity is None:
        if state is not ParityState.UNKNOWN:
            yield Difference(field="artifact.parity_state", stored=state, derived=ParityState.UNKNOWN)
        return
    if parity.get("state", state) != state:
        yield Difference(field="artifact.parity_state", stored=state, derived=parity["state"])
    beyond = _is_beyond(precision, parity)
    if beyond and state is ParityState.OK:
        yield Difference(field="artifact.parity_state", stored=state, derived=ParityState.OFF)
    if state is ParityState.OFF and not beyond and not parity.get("reason"):
        yield Difference(field="artifact.parity_state", stored=state, derived=ParityState.OK)


def _is_beyond(precision: Precision, parity: Mapping[str, Any]) -> bool:
    """Return whether a measure is beyond the limit of the precision."""
    relative, sqnr_db = parity.get("relative"), parity.get("sqnr_db")
    if precision in MAX_RELATIVE:
        return relative is not None and bool(relative > MAX_RELATIVE[precision])
    return sqnr_db is not None and bool(sqnr_db < MIN_SQNR_DB[precision])
