"""Accuracy of a network and its artifacts on labelled samples, as an evaluation reports it."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from nnlite.vocabulary import Precision

#: A share of samples.
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How well labelled samples are classified, by a network or an artifact."""

    #: Share of the samples whose class has the highest score.
    top1: Share
    #: Share of those whose class has one of the five highest; None: there are no more than five classes.
    top5: Share | None


@dataclass(frozen=True, kw_only=True)
class ArtifactAccuracy(Accuracy):
    """Accuracy of an artifact."""

    precision: Precision
    #: Share of the samples that it classifies right or PyTorch wrong; None: there is no network.
    no_worse: Share | None


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """Accuracy of a network and its artifacts on the same samples."""

    #: How many were run: fewer than there are if the time was up.
    samples: Annotated[int, Field(gt=0)]
    #: Of PyTorch; None: a pre-built file has no network.
    torch: Accuracy | None
    artifacts: tuple[ArtifactAccuracy, ...]
