"""Accuracy on labelled samples: where the right class ranks, and shares of samples."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlite.errors import NnliteError

_TOP = 5


class UnfitSamples(NnliteError):
    """The labelled samples cannot be classified by the network."""


@dataclass(kw_only=True)
class Ranks:
    """Rank of the right class for each sample, from 0, by the scores of a network or an artifact."""

    of_samples: list[int] = field(default_factory=list)
    classes: int = 0

    def add(self, output: NDArray[Any], label: int) -> None:
        """Add the rank of `label` among the scores of one sample; of equal scores the first counts as higher.

        Scores that are not finite classify wrongly.

        Raises:
            UnfitSamples: the output is no row of scores, or has no class `label`.
        """
        scores = _scores(output)
        if label >= scores.size:
            raise UnfitSamples(f"a sample has class {label}, the network has classes 0 to {scores.size - 1}")
        self.classes = scores.size
        finite = bool(np.isfinite(scores).all())
        higher = int((scores > scores[label]).sum() + (scores[:label] == scores[label]).sum())
        self.of_samples.append(higher if finite else scores.size)

    @property
    def right(self) -> list[bool]:
        """Whether each sample is classified right."""
        return [rank == 0 for rank in self.of_samples]

    @property
    def top1(self) -> float:
        """Share of the samples whose class has the highest score."""
        return self._share(1)

    @property
    def top5(self) -> float | None:
        """Share of those whose class has one of the five highest; None: there are at most five classes."""
        return self._share(_TOP) if self.classes > _TOP else None

    def no_worse(self, reference: Sequence[bool] | None) -> float | None:
        """Return the share of the samples that are right here or wrong in `reference`; None without that."""
        if reference is None:
            return None
        return _mean([own or not other for own, other in zip(self.right, reference, strict=True)])

    def _share(self, best: int) -> float:
        return _mean([rank < best for rank in self.of_samples])


def _scores(output: NDArray[Any]) -> NDArray[Any]:
    classes = max(output.shape, default=0)
    if classes < 2 or output.size != classes:
        raise UnfitSamples(
            f"output 0 is {tuple(output.shape)}, not a score for each class: accuracy is that of classifiers"
        )
    return output.reshape(-1)


def _mean(truths: Sequence[bool]) -> float:
    return sum(truths) / len(truths)
