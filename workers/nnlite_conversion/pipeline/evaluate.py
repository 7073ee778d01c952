"""Measures the accuracy of artifacts, and of their network, on the same labelled samples.

The samples go through the model's own transform. Runs in the forked child only.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from nnlite.artifacts.device_samples import SampleKeeper
from nnlite.artifacts.evaluation import Labels, labels
from nnlite.artifacts.inputs import seeded_inputs
from nnlite.artifacts.ranks import Ranks, UnfitSamples
from nnlite.errors import Failure, FailureClass, NnliteError
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import ModelFormat, Precision, Stage
from nnlite_conversion import explanations
from nnlite_conversion.explanations import explained
from nnlite_conversion.messages import DEVICE_SAMPLES, Enter, Evaluated
from nnlite_conversion.outcome import Accuracy, ArtifactAccuracy, ConversionJob, EvaluationInput
from nnlite_conversion.pipeline import accelerator
from nnlite_conversion.pipeline.loading.load import load
from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.quantizing import calibration
from nnlite_conversion.pipeline.quantizing.data import Sample
from nnlite_conversion.pipeline.verifying.parity import HostArtifact


def evaluate_model(job: ConversionJob, settings: ConversionSettings, enter: Enter) -> Evaluated:
    """Run the network and the artifacts of `job.evaluation` on its samples, as many as the time allows.

    Raises:
        Failure: class `model`: the samples do not fit the network, or it is no classifier.
        MemoryError, OSError: the machine's fault, not the model's.
    """
    if job.evaluation is None:
        raise ValueError("the job has no evaluation")
    enter(Stage.LOAD)
    loaded = None
    if job.model.model_format is not ModelFormat.PREBUILT:
        loaded, _ = load(job, Path.cwd())
    enter(Stage.EVALUATE)
    try:
        hosts = {
            precision: HostArtifact(file, settings.threads)
            for precision, file in job.evaluation.artifacts.items()
        }
        run = _Run(job, job.evaluation, hosts, settings.evaluation_max_s)
        if loaded is None:
            first = next(iter(hosts.values()))
            wanted = [(spec.shape, "float32" if spec.quantization else spec.dtype) for spec in first.inputs]
            return run(tuple(seeded_inputs(wanted, job.seed)), None, accelerator.CPU)
        samples = loaded.samples
        with torch.no_grad():
            return accelerator.run(loaded.module, lambda network, device: run(samples, network, device))
    except Failure:
        raise
    except NnliteError as error:
        reason = str(error).removeprefix("no calibration data: ")
        raise Failure(FailureClass.MODEL, Stage.EVALUATE, reason) from error
    except (Exception, SystemExit) as error:
        if isinstance(error, MemoryError) or explanations.is_full_disk(error):
            raise
        raise explained(Stage.EVALUATE, error, "the network, its transform or an artifact fails") from error


class _Run:
    """One pass over the samples; may be repeated, on another device."""

    def __init__(
        self,
        job: ConversionJob,
        data: EvaluationInput,
        hosts: Mapping[Precision, HostArtifact],
        max_s: float,
    ) -> None:
        self._job, self._data, self._hosts, self._max_s = job, data, hosts, max_s
        self._labels = labels(data.file)

    def __call__(self, inputs: Sample, network: torch.nn.Module | None, device: torch.device) -> Evaluated:
        of_network = Ranks() if network is not None else None
        of_artifacts = {precision: Ranks() for precision in self._hosts}
        keeper = SampleKeeper(max_bytes=self._data.kept_mb << 20)
        deadline = time.monotonic() + self._max_s
        count = 0
        for count, (sample, label) in enumerate(self._samples(inputs), start=1):  # noqa: B007
            if network is not None and of_network is not None:
                outputs = network(*(torch.from_numpy(value).to(device) for value in sample))
                first = lowering.tensors_of(outputs)[0].detach().cpu().numpy()
                _check_classes(first, self._labels)
                of_network.add(first, label)
            for precision, host in self._hosts.items():
                output = host.reals(host.run(sample))[0]
                _check_classes(output, self._labels)
                of_artifacts[precision].add(output, label)
            keeper.add(sample, label)
            if time.monotonic() > deadline:
                break
        right = of_network.right if of_network else None
        if self._data.kept_mb:
            keeper.write(Path(DEVICE_SAMPLES), right)
        return Evaluated(
            samples=count,
            torch=Accuracy(top1=of_network.top1, top5=of_network.top5) if of_network else None,
            artifacts=tuple(
                ArtifactAccuracy(
                    precision=precision, top1=ranks.top1, top5=ranks.top5, no_worse=ranks.no_worse(right)
                )
                for precision, ranks in of_artifacts.items()
            ),
        )

    def _samples(self, inputs: Sample) -> Iterator[tuple[Sample, int]]:
        data = self._data
        given = calibration.given(data.kind, data.file, self._job.model, inputs)
        return zip(given, self._labels.labels, strict=True)


def _check_classes(output: NDArray[Any], known: Labels) -> None:
    """Raise UnfitSamples if the sub-folders of the samples are not as many as there are scores."""
    classes = output.size
    if known.classes is not None and len(known.classes) != classes == max(output.shape, default=0):
        raise UnfitSamples(
            f"there are sub-folders of {len(known.classes)} classes, the network has {classes}; "
            f"name the sub-folders by the network's classes, 0 to {classes - 1}"
        )
