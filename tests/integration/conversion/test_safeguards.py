"""int8 and mixed of networks that plain integers would compute wrongly: each kind of loss is avoided."""

from dataclasses import replace

import pytest

from integration.conversion.models import network
from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.vocabulary import Precision
from nnlite_conversion.isolation.conversion import convert

#: Behind values so small, biases would take more than 32 bits: of every layer that has one, a shared one too.
BIASES = network(
    """
    x = x * 1e-4
    line = x.flatten(2)
    return (
        self.plain(x), self.grouped(x), self.depthwise(x), self.spread(x), self.long(line),
        self.shared(x.mean((2, 3))) * 0.5 + self.shared(x.amax((2, 3)) * 300), self.deep(x[:, None, :, 0, 0])
    )
    """,
    """
    from torch import nn
    self.plain, self.grouped = nn.Conv2d(4, 6, 3), nn.Conv2d(4, 6, 3, groups=2)
    self.depthwise, self.spread = nn.Conv2d(4, 4, 3, groups=4), nn.ConvTranspose2d(4, 6, 2, 2)
    self.long, self.shared, self.deep = nn.Conv1d(4, 6, 3), nn.Linear(4, 6), nn.Linear(4, 6)
    for layer in self.children():
        nn.init.uniform_(layer.weight, -1, 1)
        nn.init.uniform_(layer.bias, 40, 60)
    """,
)
#: Of 4096 shares none is half of the step that every softmax has; so are sigmoids and hyperbolic tangents.
SMALL_SHARES = network(
    """
    y = self.c(x).flatten(2)
    return (
        (y.softmax(2) @ y.transpose(1, 2)), (y - 9).sigmoid() * 1000, (y * 1e-3).tanh() * 100,
    )
    """,
    "self.c = torch.nn.Conv2d(3, 4, 1)",
)
#: LiteRT's integers of different scores are equal where their step is small: two are in one place.
ORDER = network(
    """
    y = self.c(x).mean((2, 3)) * 0.01
    best, places = y.topk(3)
    return torch.zeros_like(y).scatter(1, places, best.softmax(1)), y.sort(descending=True)[0]
    """,
    "self.c = torch.nn.Conv2d(3, 24, 1)",
)
#: Samples differ by factors: the range of the first cuts off others.
OTHER_SAMPLES = network(
    "return self.c(x * (30 * x.mean((1, 2, 3), keepdim=True)).exp())",
    "self.c = torch.nn.Conv2d(3, 4, 3)",
)
#: Fresh weights let values vanish, below every step of the quantizer.
VANISHING = network(
    "return self.c(x * 1e-14).relu().mean((2, 3))",
    "self.c = torch.nn.Conv2d(3, 8, 3, bias=False)",
)
#: Places of pixels, flattened, are coarser in integers than a pixel.
PLACES = network(
    "return F.grid_sample(self.c(x), self.grid, align_corners=False)",
    "self.c = torch.nn.Conv2d(3, 8, 1); self.register_buffer('grid', torch.rand(1, 24, 24, 2) * 2 - 1)",
)
#: In integers a small divisor is zero.
DIVISORS = network(
    "y = self.c(x).flatten(2)\nreturn y[:, :4] / (y[:, 4:].square() + 1e-3)",
    "self.c = torch.nn.Conv2d(3, 8, 1)",
)
#: A bank of filters over a spectrogram: LiteRT takes one step for the columns of a constant first factor.
BANK = network(
    "return self.bank @ self.c(x).mean(1)",
    "self.c = torch.nn.Conv2d(3, 8, 1)\nself.register_buffer('bank', torch.randn(12, 32))",
)
#: Behind a dead ReLU everything is zero, and what follows are biases.
DEAD = network(
    "y = self.c(x)\nreturn y * self.b(self.a(y.mean((2, 3), keepdim=True)).relu()).sigmoid()",
    """
    from torch import nn
    self.c, self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
    nn.init.constant_(self.a.bias, -9.0)
    """,
)
#: Attention, whose scores are all equal in steps that have room for a mask, or LiteRT aborts.
ATTENTION = """
t = self.c(x).flatten(2).transpose(1, 2) * 9
scores = self.q(t) @ self.k(t).transpose(1, 2)
return (SCORES).softmax(-1) @ self.v(t)
"""
LAYERS = """
from torch import nn
self.c = nn.Conv2d(3, 8, 4, 4)
self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
self.mask = nn.Transformer.generate_square_subsequent_mask(64)
"""


def attention(scores: str) -> str:
    return network(ATTENTION.replace("SCORES", scores), LAYERS)


@pytest.fixture
def convert_calibrated(job, settings, place):
    """Convert a network to int8 and mixed."""

    def run(code, shape):
        wanted = job(code, shape=shape, precisions=(Precision.INT8, Precision.MIXED))
        calibrated = replace(wanted, calibration=Calibration(kind=CalibrationKind.NOISE, samples=6))
        with convert(calibrated, settings, workdir=place, tick=lambda stage: True) as outcome:
            assert outcome.refused == ()
            return outcome.artifacts

    return run


@pytest.mark.parametrize(
    ("code", "shape", "kept"),
    [
        pytest.param(BIASES, (1, 4, 8, 8), {"REDUCE_MAX"}, id="biases"),
        pytest.param(SMALL_SHARES, (1, 3, 64, 64), {"SOFTMAX", "LOGISTIC", "TANH"}, id="small shares"),
        pytest.param(ORDER, (1, 3, 8, 8), {"EQUAL", "GREATER", "STABLEHLO_SCATTER"}, id="order"),
        pytest.param(OTHER_SAMPLES, (1, 3, 16, 16), {"EXP"}, id="samples that differ"),
        pytest.param(VANISHING, (1, 3, 8, 8), set(), id="vanishing values"),
        pytest.param(
            PLACES,
            (1, 3, 32, 32),
            {
                "ADD",
                "MUL",
                "BROADCAST_TO",
                "RESHAPE",
                "SLICE",
                "SUB",
                "CAST",
                "FLOOR",
                "LESS",
                "GREATER_EQUAL",
            },
            id="places",
        ),
        pytest.param(
            DIVISORS,
            (1, 3, 16, 16),
            {"ADD", "DIV", "MUL", "RESHAPE", "SLICE", "TRANSPOSE"},
            id="divisors",
        ),
        pytest.param(BANK, (1, 3, 32, 32), {"BATCH_MATMUL"}, id="constant first factor"),
        pytest.param(attention("scores + self.mask"), (1, 3, 32, 32), set(), id="infinite mask"),
        pytest.param(attention("scores + self.mask.clamp(-1e9)"), (1, 3, 32, 32), set(), id="added mask"),
        pytest.param(
            attention("scores.masked_fill(self.mask < 0, -1e9)"),
            (1, 3, 32, 32),
            {"SELECT_V2", "SOFTMAX"},
            id="chosen mask",
        ),
        pytest.param(DEAD, (1, 3, 16, 16), set(), id="zeros"),
    ],
)
def test_int8_and_mixed_are_right_where_plain_integers_are_not(convert_calibrated, code, shape, kept):
    int8, mixed = convert_calibrated(code, shape)

    assert (int8.parity.state, mixed.parity.state) == ("ok", "ok")
    assert set(int8.kept_as_floats) == set(mixed.kept_as_floats) == kept
    assert int8.operators["CONV_2D"] and "CONV_2D" not in int8.kept_as_floats
