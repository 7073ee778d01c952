"""Novelty of generated models: Jaccard similarity of their code's shingles of seven tokens.

NN-GPT's edge scorer (ab/gpt/act/edge/EdgeScore.py of https://github.com/ABrain-One/nn-gpt) estimates it by
MinHash; here it is exact. The references of a prompt are recorded in a pickle only, which is never read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

#: From this similarity to a reference on a model is a copy, and from the other on to an earlier generation:
#: higher, because prompts demand one skeleton of all.
REFERENCE_THRESHOLD = 0.8
SIBLING_THRESHOLD = 0.95
_SHINGLE = 7
_TOKEN = re.compile(r"[A-Za-z_]\w*|[^\s]")

Shingles = frozenset[tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """How similar a model is to others that were known before it."""

    novel: bool
    #: The highest similarity, 0..1; None: there was nothing to compare with.
    max_similarity: float | None = None
    similar_to: str | None = None


class NoveltyFilter:
    """Judges models in the order in which they were generated.

    Args:
        threshold: similarity to a reference from which on a model is a copy.
    """

    def __init__(self, references: Mapping[str, str], threshold: float = REFERENCE_THRESHOLD) -> None:
        self._threshold = threshold
        self._references = {f"reference:{name}": shingles(code) for name, code in references.items()}
        self._siblings: dict[str, Shingles] = {}

    def judge(self, tag: str, code: str) -> Novelty:
        """Return the novelty of the model `tag`, to which later ones are compared then."""
        own = shingles(code)
        reference, sibling = _closest(own, self._references), _closest(own, self._siblings)
        self._siblings[tag] = own
        found = max(filter(None, (reference, sibling)), default=None)
        return Novelty(
            novel=not (
                (reference is not None and reference[0] >= self._threshold)
                or (sibling is not None and sibling[0] >= SIBLING_THRESHOLD)
            ),
            max_similarity=found and found[0],
            similar_to=found and found[1],
        )


def shingles(code: str) -> Shingles:
    """Return the sequences of seven tokens in `code`; of shorter code the one that it is."""
    tokens = _TOKEN.findall(code)
    starts = range(max(1, len(tokens) - _SHINGLE + 1))
    return frozenset(tuple(tokens[start : start + _SHINGLE]) for start in starts)


def jaccard(one: Shingles, other: Shingles) -> float:
    """Return the share of the shingles of both that both have."""
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def _closest(own: Shingles, others: Mapping[str, Shingles]) -> tuple[float, str] | None:
    similarities = [(round(jaccard(own, other), 4), name) for name, other in others.items()]
    return max(similarities, key=lambda each: each[0], default=None)
