"""Accuracy on a device: samples in chunks, as many as the time allows; and their file."""

import numpy as np
import pytest

from nnlite.artifacts.device_samples import DeviceSamples, SampleKeeper, read_device_samples
from nnlite.artifacts.inputs import sample_inputs
from nnlite.artifacts.samples import SamplesError
from nnlite_benchmark.accuracy import accuracy
from nnlite_benchmark.device import InputSpec

CLASSES = 10


def samples(count: int, values: int = 1) -> DeviceSamples:
    """Samples of class 0, every other of which PyTorch has right."""
    return DeviceSamples(
        inputs=(np.zeros((count, values), np.float32),),
        labels=(0,) * count,
        right=tuple(number % 2 == 0 for number in range(count)),
    )


class Runs:
    """A device whose runs take two seconds and one for each sample; it is right for the first `right`."""

    def __init__(self, right: int) -> None:
        self.right, self.now_s, self.sizes = right, 0.0, []

    def classify(self, begin: int, end: int) -> np.ndarray:
        self.sizes.append(end - begin)
        self.now_s += 2 + (end - begin)
        outputs = np.zeros((end - begin, 1, CLASSES), np.int8)
        outputs[:, 0, 1] = np.arange(begin, end) >= self.right
        return outputs

    def measured(self, samples: DeviceSamples, max_s: float = 1e6, **limits: float):
        return accuracy(samples, self.classify, max_s=max_s, clock=lambda: self.now_s, **limits)


def test_all_samples_are_run_in_chunks_of_a_minute():
    runs = Runs(right=60)
    found = runs.measured(samples(100))
    assert runs.sizes == [8, 48, 44]
    assert (found.samples, found.top1, found.top5) == (100, 0.6, 1)
    assert found.no_worse == 0.8, "of 40 that it has wrong PyTorch has 20 wrong too"


def test_chunks_are_no_larger_than_what_a_device_takes():
    runs = Runs(right=5)
    runs.measured(samples(5, values=3 << 20))
    assert runs.sizes == [2, 2, 1]


def test_chunks_are_no_longer_than_a_device_may_run():
    runs = Runs(right=5)
    runs.measured(samples(30), chunk_s=10)
    assert runs.sizes[:2] == [8, 8]


def test_what_does_not_fit_into_the_time_is_not_run():
    found = Runs(right=100).measured(samples(100), max_s=30)
    assert found.samples < 40 and found.top1 == 1


def test_the_first_samples_are_kept_up_to_the_limit(tmp_path):
    keeper = SampleKeeper(max_bytes=3 * 8)
    for number in range(5):
        keeper.add([np.full((2,), number, np.float32)], label=number)
    keeper.write(tmp_path / "kept.npz", right=[True, False, True, True, True])
    kept = read_device_samples(tmp_path / "kept.npz")
    assert (kept.labels, kept.right) == ((0, 1, 2), (True, False, True))
    assert kept.inputs[0].tolist() == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize(
    "arrays",
    [
        {"labels": np.arange(3), "input_0": np.zeros((2, 1), np.float32)},
        {"labels": np.arange(3)},
        {"labels": np.array([0, -1]), "input_0": np.zeros((2, 1), np.float32)},
        {"labels": np.zeros(0, np.int64), "input_0": np.zeros((0, 1), np.float32)},
        {"input_0": np.zeros((2, 1), np.float32)},
    ],
)
def test_a_file_without_samples_is_refused(arrays, tmp_path):
    np.savez(tmp_path / "forged.npz", **arrays)
    with pytest.raises(SamplesError, match=r"forged\.npz has no samples for devices"):
        read_device_samples(tmp_path / "forged.npz")


def test_samples_are_quantized_for_an_artifact_of_integers_and_must_have_its_shape():
    tensor = InputSpec(name="x", shape=(1, 2), dtype="int8", quantization=(0.5, 10))
    (quantized,) = sample_inputs([tensor], [np.array([[[0.0, 1.0]], [[-1.0, 1e6]]], np.float32)])
    assert quantized.dtype == np.int8 and quantized.tolist() == [[[10, 12]], [[8, 127]]]
    with pytest.raises(ValueError, match="samples have the shapes"):
        sample_inputs([tensor], [np.zeros((4, 3), np.float32)])
