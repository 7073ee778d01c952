"""Reference passes run on the GPU if one works; a pass that fails there is repeated on the CPU.

There is no GPU here: torch's `meta` device is used instead, to which networks are copied like to any other.
"""

import os
import re
import signal
import threading
from types import SimpleNamespace

import pytest
import torch

from nnlite.settings import Settings
from nnlite_conversion.isolation import gpu as gpu_choice
from nnlite_conversion.isolation.gpu import AcceleratorError, choose_gpu
from nnlite_conversion.outcome import Accelerated, Gpu
from nnlite_conversion.pipeline import accelerator
from nnlite_conversion.pipeline.accelerator import CPU, accelerated, run

GPU = torch.device("meta")


@pytest.fixture(autouse=True)
def _no_gpu_is_chosen():
    accelerator.use(None)
    yield
    accelerator.use(None)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(accelerator, "_opened", lambda _: GPU)
    accelerator.use(Gpu(device="0", name="a GPU"))


def where(network, device):
    assert {tensor.device for tensor in network.parameters()} == {device}
    return device


def test_pass_runs_on_gpu_and_network_stays_on_cpu(gpu):
    network = torch.nn.Linear(2, 2)
    assert run(network, where) == GPU
    assert network.weight.device == CPU
    assert accelerated() == Accelerated(gpu="a GPU", note=None)


def test_without_gpu_passes_run_on_cpu_without_note():
    assert run(torch.nn.Linear(2, 2), where) == CPU
    assert accelerated() is None


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB"), "on the CPU: out of GPU memory: .*2 GiB"),
        (RuntimeError("Expected all tensors to be on the same device"), "it fails there: .*same device"),
        (SystemExit(3), "it fails there: SystemExit"),
    ],
)
def test_error_on_gpu_moves_this_and_later_passes_to_cpu_with_note(gpu, error, note):
    tried = []

    def work(network, device):
        tried.append(device)
        if device == GPU:
            raise error
        return where(network, device)

    assert [run(torch.nn.Linear(2, 2), work) for _ in range(2)] == [CPU, CPU]
    assert tried == [GPU, CPU, CPU]
    assert re.search(note, accelerated().note)


def test_network_that_cannot_be_copied_runs_on_cpu(gpu):
    network = torch.nn.Linear(2, 2)
    network.lock = threading.Lock()
    assert run(network, where) == CPU
    assert "cannot pickle" in accelerated().note


class Keeping(torch.nn.Module):
    """Stores its input in itself, in one way or another."""

    def __init__(self, how):
        super().__init__()
        self.how, self.replaced, self.listed = how, None, []
        self.register_buffer("in_place", torch.zeros(1))

    def forward(self, x):
        if self.how == "new":
            self.new = x
        elif self.how == "replaced":
            self.replaced = x
        elif self.how == "in_place":
            self.in_place += x
        else:
            self.listed.append(x)
        return x

    def kept(self):
        return [value for value in (vars(self).get("new"), self.replaced, *self.listed) if value is not None]


@pytest.mark.parametrize("how", ["new", "replaced", "in_place", "listed"])
def test_pass_that_changes_its_network_is_repeated_on_cpu(gpu, how):
    network = Keeping(how)
    answer = run(network, lambda placed, device: placed(torch.ones(1, device=device)))
    assert answer.device == CPU
    assert "keeps something" in accelerated().note
    assert network.in_place == 1 if how == "in_place" else [kept.device for kept in network.kept()] == [CPU]


def test_error_on_cpu_is_raised(gpu):
    def fail(_network, device):
        raise ValueError(f"on {device}")

    with pytest.raises(ValueError, match=r"^on cpu$"):
        run(torch.nn.Linear(2, 2), fail)


def test_passes_on_gpu_do_not_use_tf32(gpu):
    torch.backends.cuda.matmul.allow_tf32 = True

    def flags(_network, _device):
        cudnn = torch.backends.cudnn
        return torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic

    assert run(torch.nn.Linear(2, 2), flags) == (False, False, False, True)


def test_preloaded_process_has_not_touched_cuda():
    # Forks of it could not use CUDA; torch notes even a question for the number of GPUs.
    assert not torch.cuda._is_in_bad_fork()
    child = os.fork()
    if child == 0:
        os._exit(int(torch.cuda._is_in_bad_fork()))
    assert os.waitpid(child, 0)[1] == 0


def no_driver(device):
    raise AssertionError(f"no driver for GPU {device}")


@pytest.mark.parametrize(
    ("visible", "reason"),
    [("", "CUDA_VISIBLE_DEVICES= hides all"), ("-1", "=-1 hides all"), (None, "there is no /dev/none-here")],
)
def test_required_gpu_that_is_missing_is_an_error_with_hint(monkeypatch, visible, reason):
    monkeypatch.setattr(gpu_choice, "_DEVICE_NODES", ("/dev/none-here",))
    with pytest.raises(
        AcceleratorError, match=rf"^NNLITE_DEVICE=cuda, but .*{reason}.*set NNLITE_DEVICE=auto$"
    ):
        choose_gpu(settings("cuda"), visible, no_driver)
    assert choose_gpu(settings("auto"), visible, no_driver) is None


def test_gpu_that_does_not_open_in_the_sandbox_is_not_used(monkeypatch):
    monkeypatch.setattr(gpu_choice, "_DEVICE_NODES", ("/dev/null",))
    with pytest.raises(AcceleratorError, match="no driver for GPU 2"):
        choose_gpu(settings("cuda"), "2,3", no_driver)


def test_probe_that_crashes_does_not_affect_the_worker(monkeypatch):
    monkeypatch.setattr(gpu_choice, "_DEVICE_NODES", ("/dev/null",))
    with pytest.raises(AcceleratorError, match="opens GPU 0 was ended by SIGABRT"):
        choose_gpu(settings("cuda"), None, lambda _device: os.abort())


def test_probe_that_hangs_is_ended_and_nobody_is_blamed(monkeypatch):
    monkeypatch.setattr(gpu_choice, "_DEVICE_NODES", ("/dev/null",))
    monkeypatch.setattr(gpu_choice, "PROBE_TIMEOUT_S", 0.1)
    with pytest.raises(AcceleratorError, match=r"importing PyTorch and opening GPU 0 took more than 0\.1 s"):
        choose_gpu(settings("cuda"), None, lambda _device: signal.pause())


def test_first_visible_gpu_is_chosen(monkeypatch):
    monkeypatch.setattr(gpu_choice, "_DEVICE_NODES", ("/dev/null",))
    opened = choose_gpu(settings("auto"), "GPU-8f2a, GPU-11aa", lambda device: f"the name of {device}")
    assert opened == Gpu(device="GPU-8f2a", name="the name of GPU-8f2a")
    assert choose_gpu(settings("cpu"), "GPU-8f2a", no_driver) is None


def settings(device):
    return SimpleNamespace(device=device, conversion=Settings(_env_file=None).conversion)
