"""Measures the accuracy of a conversion's artifacts: the worker's side, which never imports torch.

An evaluation never fails its conversion: what cannot be evaluated has a reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Engine

from nnlite.artifacts.evaluation import EvaluationData
from nnlite.artifacts.store import ArtifactGoneError, ArtifactStore
from nnlite.db.tables import Artifact, Evaluation
from nnlite.errors import Failure, FailureClass
from nnlite.results.evaluations import evaluated_artifacts
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import ArtifactFormat, EvaluateOn, Precision, Stage
from nnlite_conversion.isolation.child import Fork
from nnlite_conversion.isolation.conversion import answer
from nnlite_conversion.isolation.process_registry import job_dir
from nnlite_conversion.messages import DEVICE_SAMPLES, Evaluated
from nnlite_conversion.outcome import ConversionJob, EvaluationInput


def to_evaluate(
    engine: Engine, data: EvaluationData, artifacts: Sequence[Artifact], place: EvaluateOn
) -> list[Artifact]:
    """Return the `.tflite` artifacts whose accuracy on `data` is not known yet.

    For devices, those whose samples are not in the store too.
    """
    artifacts = [artifact for artifact in artifacts if artifact.format is ArtifactFormat.TFLITE]
    known = evaluated_artifacts(engine, [artifact.id for artifact in artifacts], data.path, place)
    return [artifact for artifact in artifacts if artifact.id not in known]


def evaluations_of(
    job: ConversionJob,
    data: EvaluationData,
    artifacts: Sequence[Artifact],
    *,
    store: ArtifactStore,
    settings: ConversionSettings,
    workdir: Path,
    tick: Callable[[Stage], bool],
    fork: Fork | None = None,
    kept_mb: int = 0,
) -> list[Evaluation]:
    """Return the evaluation of each artifact, in a child of its own.

    Args:
        job: the model of the artifacts.
        data: the labelled samples, which `submit` has put into the store.
        store: of the samples and the artifacts.
        settings, workdir, tick, fork: as for `isolation.conversion.convert`.
        kept_mb: samples that are put into the store for devices, MiB; 0: none.

    Raises:
        Failure: class `infrastructure`.
        StoreError: the store is unavailable.
    """
    made = [
        Evaluation(artifact_id=each.id, data=data.path, name=data.name, seed=data.seed) for each in artifacts
    ]
    try:
        found = EvaluationInput(
            kind=data.kind,
            file=fetch_submitted(store, data.path, f"evaluation data {data.name}"),
            artifacts={
                Precision(each.precision): fetch_submitted(store, each.path, "artifact to evaluate")
                for each in artifacts
            },
            kept_mb=kept_mb,
        )
        job = replace(job, evaluation=found)
        workdir.mkdir(parents=True, exist_ok=True)
        with job_dir(workdir) as folder:  # removed even if this worker is killed
            kept = {DEVICE_SAMPLES: folder / DEVICE_SAMPLES} if kept_mb else {}
            report = answer(Evaluated, job, settings, workdir=workdir, tick=tick, fork=fork, files=kept)
            inputs = next((store.put(file, file.suffix) for file in kept.values()), None)
    except Failure as failure:
        if failure.failure_class is FailureClass.INFRASTRUCTURE:
            raise
        for each in made:
            each.reason = f"{failure.stage}: {failure.reason}"
        return made
    accuracies = {each.precision: each for each in report.artifacts}
    if accuracies.keys() != found.artifacts.keys():  # model code can forge a report
        for each in made:
            each.reason = f"{Stage.EVALUATE}: the evaluation reported other precisions than it was asked for"
        return made
    for each, artifact in zip(made, artifacts, strict=True):
        accuracy = accuracies[Precision(artifact.precision)]
        each.samples, each.inputs = report.samples, inputs
        each.top1, each.top5, each.no_worse = accuracy.top1, accuracy.top5, accuracy.no_worse
        if report.torch is not None:
            each.torch_top1, each.torch_top5 = report.torch.top1, report.torch.top5
    return made


def fetch_submitted(store: ArtifactStore, path: str, what: str) -> Path:
    """Return a file of the store that submitting the request again restores.

    Raises:
        Failure: class `infrastructure`: it is missing or damaged.
        StoreError: the store is unavailable.
    """
    try:
        return store.fetch(path)
    except ArtifactGoneError as error:
        store.discard(path)
        reason = f"{what}: {error}; submit the same request again"
        raise Failure(FailureClass.INFRASTRUCTURE, Stage.FETCH, reason) from error
