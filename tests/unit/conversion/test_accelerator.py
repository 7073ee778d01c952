"""Reference passes go to a GPU where one works, and what it cannot do is done on the CPU.

There is no GPU here: torch's `meta` device stands for it, to which networks are copied as to any other.
"""

import os
import re
import threading
from types import SimpleNamespace

import pytest
import torch

from nnlite.settings import Settings
from nnlite_conversion.outcome import Accelerated
from nnlite_conversion.pipeline import accelerator
from nnlite_conversion.pipeline.accelerator import CPU, AcceleratorError, accelerated, choose_gpu, run

GPU = torch.device("meta")


@pytest.fixture(autouse=True)
def _nothing_is_chosen(monkeypatch):
    monkeypatch.setattr(accelerator, "_choice", accelerator._Choice())


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(accelerator, "_choice", accelerator._Choice(gpu="0", name="a GPU"))
    monkeypatch.setattr(accelerator, "_opened", lambda _: GPU)


def where(network, device):
    assert {tensor.device for tensor in network.parameters()} == {device}
    return device


def test_a_pass_runs_on_the_gpu_and_leaves_the_network_where_it_is(gpu):
    network = torch.nn.Linear(2, 2)
    assert run(network, where) == GPU
    assert network.weight.device == CPU
    assert accelerated() == Accelerated(gpu="a GPU", note=None)


def test_without_a_gpu_everything_runs_on_the_cpu_and_nothing_is_said():
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
def test_what_the_gpu_cannot_do_the_cpu_does_with_a_note_and_from_then_on(gpu, error, note):
    tried = []

    def work(network, device):
        tried.append(device)
        if device == GPU:
            raise error
        return where(network, device)

    assert [run(torch.nn.Linear(2, 2), work) for _ in range(2)] == [CPU, CPU]
    assert tried == [GPU, CPU, CPU]
    assert re.search(note, accelerated().note)


def test_a_network_that_cannot_be_copied_runs_on_the_cpu(gpu):
    network = torch.nn.Linear(2, 2)
    network.lock = threading.Lock()
    assert run(network, where) == CPU
    assert "cannot pickle" in accelerated().note


class Keeping(torch.nn.Module):
    """Remembers its input, in one way or another."""

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
def test_a_pass_that_keeps_something_is_made_again_where_it_is_exported(gpu, how):
    network = Keeping(how)
    answer = run(network, lambda placed, device: placed(torch.ones(1, device=device)))
    assert answer.device == CPU
    assert "keeps something" in accelerated().note
    assert network.in_place == 1 if how == "in_place" else [kept.device for kept in network.kept()] == [CPU]


def test_a_failure_of_the_model_is_that_of_the_cpu(gpu):
    def fail(_network, device):
        raise ValueError(f"on {device}")

    with pytest.raises(ValueError, match=r"^on cpu$"):
        run(torch.nn.Linear(2, 2), fail)


def test_passes_on_a_gpu_do_without_tf32(gpu):
    torch.backends.cuda.matmul.allow_tf32 = True

    def flags(_network, _device):
        cudnn = torch.backends.cudnn
        return torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic

    assert run(torch.nn.Linear(2, 2), flags) == (False, False, False, True)


def test_the_process_that_forks_has_not_touched_cuda():
    # Children would find it unusable; torch notes even a question for the number of GPUs.
    assert not torch.cuda._is_in_bad_fork()
    child = os.fork()
    if child == 0:
        os._exit(int(torch.cuda._is_in_bad_fork()))
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("visible", "why"),
    [("", "CUDA_VISIBLE_DEVICES= hides all"), ("-1", "=-1 hides all"), (None, "there is no /dev/none-here")],
)
def test_cuda_asked_for_and_none_there_is_one_clear_line(monkeypatch, visible, why):
    monkeypatch.setattr(accelerator, "_NODES", ("/dev/none-here",))
    with pytest.raises(AcceleratorError, match=rf"^NNLITE_DEVICE=cuda, but .*{why}.*set NNLITE_DEVICE=auto$"):
        choose_gpu(settings("cuda"), visible)
    choose_gpu(settings("auto"), visible)
    assert accelerated() is None


def test_a_gpu_that_does_not_open_in_the_sandbox_is_not_used(monkeypatch):
    # The driver itself is asked, in a forked child: there is none on the machines of the tests.
    monkeypatch.setattr(accelerator, "_NODES", ("/dev/null",))
    monkeypatch.setattr(accelerator, "_opened", lambda gpu: pytest.fail(f"no driver for GPU {gpu}"))
    with pytest.raises(AcceleratorError, match="no driver for GPU 2"):
        choose_gpu(settings("cuda"), "2,3")


def test_a_probe_that_crashes_or_hangs_takes_nothing_along(monkeypatch):
    monkeypatch.setattr(accelerator, "_NODES", ("/dev/null",))
    monkeypatch.setattr(accelerator, "_opened", lambda _gpu: os.abort())
    with pytest.raises(AcceleratorError, match="did not open GPU 0 within"):
        choose_gpu(settings("cuda"), None)


def test_the_first_gpu_that_the_worker_was_given_is_its_children_s(monkeypatch):
    monkeypatch.setattr(accelerator, "_NODES", ("/dev/null",))
    monkeypatch.setattr(accelerator, "_opened", lambda gpu: f"GPU {gpu}")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the name of {device}")
    choose_gpu(settings("auto"), "GPU-8f2a, GPU-11aa")
    assert accelerated() == Accelerated(gpu="the name of GPU GPU-8f2a", note=None)
    choose_gpu(settings("cpu"), "GPU-8f2a")
    assert accelerated() is None


def settings(device):
    return SimpleNamespace(device=device, conversion=Settings(_env_file=None).conversion)
