"""Complex numbers, Fourier transforms and other floats become real numbers in single precision."""

import pytest
import torch
from torch.nn import functional as F

from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.lowering.fast_lowering import fast_lowering
from nnlite_conversion.pipeline.lowering.rewrites.complex_numbers import NotReal
from nnlite_conversion.pipeline.lowering.rewrites.fourier import TooLong
from unit.conversion.rewriting import IMAGE, Network, assert_equal, rewritten

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.process]


def transforms(x):
    spectrum = torch.fft.rfft(x)
    return (
        torch.fft.rfft2(x).abs(), torch.fft.fft(x).real, torch.fft.fft(x, n=9, norm="forward").imag,
        torch.fft.irfft(spectrum, n=7), torch.fft.irfft(spectrum, n=6, norm="ortho"),
        torch.fft.rfft(x, n=10, dim=1).imag, torch.fft.ihfft(x).real, torch.fft.hfft(x),
        torch.fft.irfftn(torch.fft.rfftn(x, norm="ortho"), s=(4, 6, 7), dim=(1, 2, 3), norm="ortho"),
        torch.fft.ifft2(torch.fft.fft2(x, norm="ortho"), norm="forward").imag,
        torch.view_as_real(torch.fft.fftshift(torch.fft.fftn(x), dim=(2, 3))),
    )  # fmt: skip


def test_fourier_transforms_are_products_with_constant_matrices():
    operators = assert_equal(transforms, IMAGE, ["complex_numbers"], 1e-4)

    assert not any("fft" in str(operator) for operator in operators)


def spectrograms(x):
    window = torch.hann_window(16)
    spectrum = torch.stft(x.flatten(1), 16, 8, window=window, return_complex=True)
    return spectrum.abs(), torch.view_as_real(spectrum), torch.istft(spectrum, 16, 8, window=window)


def test_spectrograms_and_their_inverse_are_products_too():
    assert_equal(spectrograms, IMAGE, ["absolute_of_integers", "complex_numbers", "index_put_by_comparison"])


def test_a_transform_whose_matrix_would_not_fit_is_refused():
    with pytest.raises(TooLong, match="65536 elements"):
        rewritten(lambda x: torch.fft.rfft(x).abs(), torch.zeros(1, 65536))


def arithmetic(x):
    a, b = torch.complex(x, x * 2 + 1), torch.complex(x.flip(3) + 3, x)
    results = (
        a + b, a - 2 * b, a * b, a / b, a * (1 + 2j), a + 1j, 1 / b, a.conj() * b, torch.exp(a * 0.1),
        a @ b.transpose(2, 3), torch.cat([a, b], 1)[:, 1:5], a.reshape(1, 4, -1).permute(0, 2, 1)[None],
        a.mean((2, 3)), a.sum(), torch.where(x > 0, a, b), a**2, torch.stack([a, b]), a * x, x + a,
        a / 3, a.unbind(1)[1], torch.log(b), torch.sqrt(b), torch.sgn(a), F.pad(a, (1, 1)), -a,
        torch.einsum("bchw,bdhw->bcd", a, b), x.to(torch.complex64) * a, a.masked_fill(x > 0, 0.0),
        x[:, :1] * a, a[:, :1] + x, torch.add(a, b, alpha=2),
    )  # fmt: skip
    real = a.abs(), b.angle(), a.real * a.imag
    return *(torch.view_as_real(result.resolve_conj()) for result in results), *real


def test_complex_numbers_inside_a_network_are_pairs_of_real_ones():
    assert_equal(arithmetic, IMAGE, ["complex_numbers"], 1e-4)


class Rotary(torch.nn.Module):
    """Rotary position embeddings, with complex weights."""

    def __init__(self):
        super().__init__()
        self.register_buffer("turns", torch.polar(torch.ones(6, 7), torch.arange(42.0).view(6, 7)))
        self.gain = torch.nn.Parameter(torch.randn(7, dtype=torch.complex64))

    def forward(self, x):
        pairs = torch.view_as_complex(torch.stack([x, x.flip(1)], -1))
        return torch.view_as_real(pairs * self.turns * self.gain)


def test_imaginary_parts_of_conjugates_are_negative():
    def function(x):
        a = torch.complex(x, 2 * x).conj()
        return a.imag, a.imag[:, 1:].reshape(-1) * 2, a.imag.resolve_neg(), torch.fft.ihfft(x).imag

    assert_equal(function, IMAGE, ["negative", "complex_numbers"])


def test_complex_weights_are_stored_as_real_ones():
    assert_equal(Rotary(), IMAGE, ["complex_numbers"])


def test_an_operator_without_a_form_for_complex_numbers_is_named():
    with pytest.raises(NotReal, match="tanh"):
        rewritten(lambda x: torch.tanh(torch.complex(x, x)).abs(), IMAGE)


class OtherPrecision(torch.nn.Module):
    """Layers of another precision than float32."""

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3), torch.nn.BatchNorm2d(8)).to(dtype)
        self.head = torch.nn.Linear(8, 3).double()

    def forward(self, x):
        y = self.layers(x.to(self.dtype)).relu() + torch.ones(1, dtype=self.dtype)
        return self.head(y.double().mean((2, 3))).float(), y.mean((2, 3))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3), (torch.float64, 1e-5)]
)
def test_layers_of_other_precision_compute_in_single_precision(dtype, tolerance):
    network = Network(OtherPrecision(dtype)).eval()
    program = torch.export.export(network, (IMAGE,), strict=False)
    with fast_lowering():
        program, names = lowering.rewritten(lowering.decompose(program))

    assert names == ("single_precision",)
    values = [node.meta.get("val") for node in program.graph.nodes]
    assert {value.dtype for value in values if isinstance(value, torch.Tensor)} <= {
        torch.float32,
        torch.int64,
    }
    for result, wanted in zip(program.module()(IMAGE), network(IMAGE), strict=True):
        torch.testing.assert_close(result, wanted.float(), atol=tolerance, rtol=tolerance)


def test_what_the_converter_refuses_in_doubles_computes_in_single_precision():
    def function(x):
        steps = torch.sin(torch.arange(7).double() * 0.1)
        return x + steps.float(), x.double().softmax(-1).float(), (x.double() > 0.5).float()

    wanted, results, _, names = rewritten(function, IMAGE)

    assert names == ("single_precision",)
    for result, other in zip(results, wanted, strict=True):
        torch.testing.assert_close(result, other)


def test_doubles_that_the_converter_narrows_itself_stay():
    def function(x):
        return (x.double() * 2 + torch.linspace(0, 1, 7, dtype=torch.float64)).float().relu()

    assert rewritten(function, IMAGE)[3] == ()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32])
def test_weights_that_are_unsigned_integers_are_signed_ones(dtype):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("table", torch.tensor([3, 200], dtype=dtype))
            self.register_buffer("unused", torch.tensor(255, dtype=dtype))

        def forward(self, x):
            return x * self.table.float().view(2, 1)

    x = torch.randn(2, 3)
    with torch.no_grad():
        program = torch.export.export(Net(), (x,), strict=False)
        program, names = lowering.rewritten(lowering.decompose(program))

        assert names == ("signed_weights",)
        assert not any(tensor.dtype is dtype for tensor in program.state_dict.values())
        torch.testing.assert_close(program.module()(x), Net()(x))
