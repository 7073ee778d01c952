"""Accuracy on labelled samples: where the right class ranks, and shares of samples."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlite.vocabulary import Precision
from nnlite_conversion.accuracy import Accuracy, ArtifactAccuracy

_TOP = 5


@dataclass(kw_only=True)
class Ranks:
    """Rank of the right class for each sample, from 0, by the scores of a network or an artifact."""

    of_samples: list[int] = field(default_factory=list)
    classes: int = 0

    def add(self, scores: NDArray[Any], label: int) -> None:
        """Add the rank of `label` among the scores of one sample; of equal scores the first counts as higher.

        Scores that are not finite classify wrongly.
        """
        self.classes = scores.size
        finite = bool(np.isfinite(scores).all())
        higher = int((scores > scores[label]).sum() + (scores[:label] == scores[label]).sum())
        self.of_samples.append(higher if finite else scores.size)

    @property
    def accuracy(self) -> Accuracy:
        """Top-1, and top-5 where there are more than five classes."""
        return Accuracy(top1=self._share(1), top5=self._share(_TOP) if self.classes > _TOP else None)

    def as_artifact(self, precision: Precision, network: "Ranks | None") -> ArtifactAccuracy:
        """Return the accuracy of an artifact, compared with its network's ranks."""
        no_worse = None
        if network is not None:
            pairs = zip(self.of_samples, network.of_samples, strict=True)
            no_worse = _mean([own == 0 or reference > 0 for own, reference in pairs])
        return ArtifactAccuracy(precision=precision, no_worse=no_worse, **vars(self.accuracy))

    def _share(self, best: int) -> float:
        return _mean([rank < best for rank in self.of_samples])


def _mean(truths: Sequence[bool]) -> float:
    return sum(truths) / len(truths)
