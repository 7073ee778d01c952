"""What torch.export cannot trace is explained in the words of a model's author, with a way out."""

import pytest
import torch
from torch.nn import functional as F

from nnlite.vocabulary import Stage
from nnlite_conversion.explanations import explained
from nnlite_conversion.export_errors import of_export
from nnlite_conversion.pipeline.lowering import lower as lowering


def equal(x):
    return x if torch.equal(x, x.flip(1)) else x * 2


def close(x):
    return x if torch.allclose(x, x.flip(1)) else x * 2


def asserted(x):
    assert torch.isfinite(x).all()
    return x


def by_numpy(x):
    return torch.from_numpy(x.numpy() * 2)


def sampled(x):
    return torch.distributions.Normal(x, torch.ones(6)).rsample()


def loss(x):
    return F.ctc_loss(x.log_softmax(-1), torch.tensor([[1]]), torch.tensor([1]), torch.tensor([1]))


def nested(x):
    return torch.nested.nested_tensor([x[0], x[0, :2]]).to_padded_tensor(0.0)


def packed(x):
    lengths = (x[0, :1] > 9).long() + 1
    sequence = torch.nn.utils.rnn.pack_padded_sequence(x[..., None], lengths, batch_first=True)
    return torch.nn.GRU(1, 2, batch_first=True)(sequence)[1]


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (equal, ("aten.equal", "called as torch.equal", "torch.where")),
        (close, ("aten.allclose", "called as torch.allclose", "torch.where")),
        (asserted, ("it asserts something about the input's values", "leave the assertion out")),
        (by_numpy, (".numpy() leaves PyTorch", "PyTorch's own operators")),
        (sampled, ("draws random numbers", "take noise as an input")),
        (loss, ("called as F.ctc_loss", "compute the loss outside the network")),
        (nested, ("LiteRT has no nested tensors",)),
        (packed, ("it packs sequences by their lengths", "on the padded sequences")),
    ],
)
def test_each_cause_has_its_line_and_a_remedy(forward, said):
    class Net(torch.nn.Module):
        def forward(self, x):
            return forward(x)

    with torch.no_grad(), pytest.raises(Exception) as raised:
        lowering.export(Net().eval(), (torch.ones(1, 6),))

    failure = explained(Stage.EXPORT, raised.value, of_export(raised.value))
    assert all(part in failure.reason for part in said), failure.reason
    assert failure.details["line"].startswith("test_export_errors.py:")
    assert failure.details["remedy"]


@pytest.mark.filterwarnings("ignore")
def test_layers_that_pytorch_has_quantized_are_named():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.ao.nn.quantized.FloatFunctional())
    network = torch.ao.quantization.quantize_dynamic(network)

    assert lowering.quantized(network)[0] == "self.0"
    assert "before self.0 was quantized" in of_export(RuntimeError("x"), (), ["self.0"]).remedy


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (RuntimeError("Found no NVIDIA driver on your system."), "leave out .cuda()"),
        (ImportError("attempted relative import with no known parent package"), "copy what it uses into"),
        (ModuleNotFoundError("No module named 'mine'", name="mine"), "of a file of yours, copy what is used"),
    ],
)
def test_what_only_the_authors_machine_has_is_named(error, remedy):
    assert remedy in of_export(error).remedy
