"""Artifacts that are wrong, or of which nothing can be said, are never `ok`.

More than 300 lines: one small network for each way to be wrong, judged in one way.
"""

import textwrap

import pytest

from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.catalog.model import ModelInput, ModelSpec
from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import Layout, ModelFormat, Precision
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.outcome import ConversionJob

FP32, DYNAMIC, INT8 = Precision.FP32, Precision.DYNAMIC, Precision.INT8
IMAGE, WORDS = ModelInput(shape=(1, 3, 16, 16)), ModelInput(shape=(1, 8), dtype="int64")
#: The network's class without its name; `forward` follows `init`.
_CODE = """
import torch, torch.nn.functional as F
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
{init}

    def forward(self, {inputs}):
{forward}
"""


@pytest.fixture
def parities(settings, place):
    """Convert a network and return its parities by precision."""

    def run(init, forward, *inputs, precisions=(FP32,)):
        names = ", ".join("xyz"[: len(inputs)])
        spec = ModelSpec(
            name="case", model_format=ModelFormat.PYTHON, entry_point="Net",
            code=_CODE.format(
                init=textwrap.indent(textwrap.dedent(init), " " * 8),
                inputs=names,
                forward=textwrap.indent(textwrap.dedent(forward), " " * 8),
            ),
            transform_code=None, inputs=inputs, layout=Layout.NHWC,
        )  # fmt: skip
        job = ConversionJob(
            model=spec,
            precisions=precisions,
            max_parameters=10**6,
            calibration=Calibration(kind=CalibrationKind.NOISE, samples=8),
        )
        with convert(job, settings, workdir=place, tick=lambda stage: True) as outcome:
            assert outcome.refused == ()
            return {artifact.precision: artifact.parity for artifact in outcome.artifacts}

    return run


BACKBONE = "self.c = nn.Conv2d(3, 16, 3, 2, 1); self.head = nn.Conv2d(16, {channels}, 1)"


def test_scores_beside_boxes_in_pixels_are_off_in_int8(parities):
    said = parities(
        BACKBONE.format(channels=14),
        """
        y = self.head(F.silu(self.c(x))).flatten(2)
        return torch.cat([y[:, :4].sigmoid() * 300, (y[:, 4:] - 2).sigmoid()], 1)
        """,
        IMAGE,
        precisions=(FP32, DYNAMIC, INT8),
    )
    assert (said[FP32].state, said[DYNAMIC].state, said[INT8].state) == ("ok", "ok", "off")
    assert said[INT8].worst.axis == 1 and said[INT8].worst.index >= 4
    assert f"axis 1 index {said[INT8].worst.index}: signal to quantization noise" in said[INT8].reason


def test_visibility_beside_landmarks_is_off_in_int8_and_anchors_may_come_first(parities):
    said = parities(
        BACKBONE.format(channels=3),
        """
        y = self.head(F.relu(self.c(x))).flatten(2).transpose(1, 2)
        return torch.cat([y[..., :2].sigmoid() * 640, y[..., 2:].sigmoid()], 2)
        """,
        IMAGE,
        precisions=(INT8,),
    )
    assert said[INT8].state == "off" and (said[INT8].worst.axis, said[INT8].worst.index) == (2, 2)


def test_a_segmentation_with_a_nearly_constant_class_is_ok_in_int8(parities):
    said = parities(
        BACKBONE.format(channels=8)
        + "\nwith torch.no_grad(): self.head.weight[3] *= 1e-3; self.head.bias[3] = 0.001",
        "return F.interpolate(self.head(F.relu(self.c(x))), scale_factor=2, mode='bilinear')",
        IMAGE,
        precisions=(INT8,),
    )
    assert said[INT8].state == "ok", said[INT8].reason


def test_an_output_that_is_always_zero_hides_no_other(parities):
    said = parities(
        "self.c = nn.Conv2d(3, 4, 3); self.gain = torch.tensor([1e4, 1, 1, 1]).view(1, 4, 1, 1)",
        "y = self.c(x)\nreturn (-y.abs()).relu().mean((2, 3)), (y * self.gain)[:, 1:] * 3",
        IMAGE,
        precisions=(FP32, INT8),
    )
    assert said[FP32].state == "unknown" and said[INT8].state == "off"
    assert said[FP32].reason == "output 0: it is the same for every input"
    assert said[INT8].reason.startswith("output 1") and "output 0: it is the same" in said[INT8].reason


def test_outputs_of_every_type_are_judged_by_themselves(parities):
    said = parities(
        "self.c = nn.Conv2d(3, 4, 3); self.e = nn.Embedding(50, 8); self.f = nn.Linear(8, 4)",
        """
        t = self.f(self.e(y.clamp(0, 49))).masked_fill(~z.unsqueeze(-1), float("-inf")).softmax(-1)
        c = self.c(x)
        return c > 0, t.nan_to_num(0), (y // 3) % 5, c.sum((2, 3))
        """,
        IMAGE,
        WORDS,
        ModelInput(shape=(1, 8), dtype="bool"),
        precisions=(FP32, DYNAMIC),
    )
    assert {parity.state for parity in said.values()} == {"ok"}
    assert said[DYNAMIC].sqnr_db > 20


@pytest.mark.parametrize(
    ("init", "forward", "reason"),
    [
        ("self.c = nn.Conv2d(3, 4, 3)", "y = self.c(x)\nreturn (y - y) / (y - y)", "no value is finite"),
        (
            "self.c = nn.Conv2d(3, 4, 3)\nwith torch.no_grad(): self.c.weight[2] = float('nan')",
            "return self.c(x).mean((2, 3))",
            "output 0, axis 1 index 2: every value is NaN",
        ),
        (
            "self.p = nn.Parameter(torch.rand(1, 5))",
            "return self.p + 0 * x.mean((1, 2, 3))",
            "same for every",
        ),
        ("self.c = nn.Conv2d(3, 4, 3)", "return self.c(x), torch.arange(5.0)", "output 1: it is the same"),
    ],
)
def test_what_cannot_be_compared_is_unknown(parities, init, forward, reason):
    parity = parities(init, forward, IMAGE)[FP32]

    assert parity.state == "unknown" and reason in parity.reason


def test_int8_takes_integers_of_64_bits_and_inputs_that_are_not_used(parities):
    said = parities(
        "self.e = nn.Embedding(64, 32); self.f = nn.Linear(32, 8); self.c = nn.Conv2d(3, 8, 3)",
        "return self.f(self.e(y).mean(1)) + self.c(x).mean((2, 3))",
        IMAGE,
        WORDS,
        WORDS,
        precisions=(INT8,),
    )
    assert said[INT8].state == "ok", said[INT8].reason


def test_an_input_that_the_network_changes_is_compared_as_it_was(parities):
    row = ModelInput(shape=(1, 6))
    assert parities("", "x.add_(1)\nreturn x * 2", row)[FP32].state == "ok"
    # PyTorch's dropout returns its input in eval mode, not a copy; the artifact has one.
    assert parities("", "y = F.dropout(x, 0.5, False)\ny += 1\nreturn x * 2", row)[FP32].state == "off"


def test_an_artifact_keeps_no_state_between_its_runs(parities):
    said = parities(
        """
        self.c, self.ready = nn.Conv2d(3, 4, 3), False
        self.register_buffer("calls", torch.zeros(1)); self.register_buffer("mean", torch.zeros(1, 4, 14, 14))
        self.register_buffer("scale", torch.zeros(1))
        """,
        """
        if not self.ready:
            self.scale.fill_(3)
            self.ready = True
        self.calls += 1
        y = self.c(x) * self.scale
        self.mean.mul_(0.9).add_(y, alpha=0.1)
        return y + self.mean, y.mean((2, 3)) * self.calls
        """,
        IMAGE,
        precisions=(FP32, INT8),
    )
    assert {parity.state for parity in said.values()} == {"ok"}


def test_what_pytorch_itself_does_not_repeat_is_off_in_every_precision_with_the_cause(parities):
    said = parities(
        "self.c = nn.Conv2d(3, 4, 3)",
        "import random\nreturn self.c(x) * random.random()",
        IMAGE,
        precisions=(FP32, INT8),
    )

    assert {parity.state for parity in said.values()} == {"off"}
    assert all("; the forward pass is random: " in parity.reason for parity in said.values())
    assert all("return self.c(x) * random.random()" in parity.reason for parity in said.values())


def test_an_output_of_nothing_but_a_counter_is_unknown_with_the_cause(parities):
    said = parities(
        'self.c = nn.Conv2d(3, 4, 3); self.register_buffer("calls", torch.zeros(1))',
        "self.calls += 1\nreturn self.c(x), self.calls.clone()",
        IMAGE,
    )[FP32]

    assert said.state == "unknown" and "each run of the network changes its buffer calls" in said.reason


def test_int8_alone_is_not_ok_where_fp32_would_be_off(parities):
    forward = "self.calls += 1\nreturn x + 0.05 * (self.calls > 2)"
    said = parities("self.calls = 0", forward, IMAGE, precisions=(INT8,))[INT8]

    assert said.state == "unknown"
    assert said.reason.startswith("the fp32 artifact that it is made from is off: output 0: largest diff")


def test_every_row_of_an_embedding_is_reached(parities):
    parity = parities("self.e = nn.Embedding(1000, 8)", "return self.e(x)", WORDS)[FP32]

    assert (parity.state, parity.samples, parity.inputs) == ("ok", 8, 12)


@pytest.mark.parametrize(
    ("init", "forward", "reason"),
    [
        (
            "self.e = nn.Embedding(1000, 8)",
            "return self.e((x * 1500000001) % 1000)",
            "mul.Tensor reaches",
        ),
        ("self.e = nn.Embedding(7, 8)", "return self.e((x + 5000000000) % 7)", "reaches 5000000000"),
        (
            "self.e = nn.Embedding(997, 8)",
            "return self.e(torch.remainder((x * 2654435761 + 97) % 4294967296 - 2147483648, 997))",
            "mul.Tensor reaches",
        ),
        (
            "self.e = nn.Embedding(97, 8)",
            "return self.e((x * 16777619).remainder(97))",
            "mul.Tensor reaches",
        ),
        ("self.register_buffer('b', torch.tensor([1, 2**40]))", "return (x[:, :2] + self.b) % 3", "reaches"),
        ("pass", "return x.clamp(max=2**35).float().mean(1)", "reaches 34359738368"),
    ],
)
def test_integers_beyond_32_bits_are_refused(parities, init, forward, reason):
    with pytest.raises(Failure) as failure:
        parities(init, forward, WORDS)

    assert failure.value.failure_class is FailureClass.MODEL
    assert failure.value.reason.startswith("needs 64-bit integers") and reason in failure.value.reason
    assert "case.py:11" in failure.value.reason


def test_a_network_in_bfloat16_is_off_with_the_cause(parities):
    said = parities("pass", "return (x.bfloat16() * 2 + 1).sigmoid().float()", IMAGE, precisions=(FP32, INT8))
    assert said[INT8].state == "ok"
    said = said[FP32]

    assert said.state == "off" and said.reason.startswith("output 0: largest difference over range is ")
    assert said.reason.endswith("which has 32 bits: build the network in float32, or call .float() on it")


def test_integers_that_are_right_up_to_some_value_are_unknown_beyond(parities):
    parity = parities("self.e = nn.Embedding(1000, 8)", "return self.e((x * 40503) % 1000)", WORDS)[FP32]

    assert parity.state == "unknown" and parity.reason.startswith("32 bits hold integers up to 4095 only")


@pytest.mark.parametrize(
    ("init", "forward", "names"),
    [
        (
            BACKBONE.format(channels=8)
            + "\nself.f = nn.Linear(8, 4); nn.init.zeros_(self.f.weight)\nnn.init.zeros_(self.f.bias)",
            "return self.f(self.head(F.relu(self.c(x))).mean((2, 3)))",
            ("f.weight",),
        ),
        (
            BACKBONE.format(channels=8)
            + "\nself.n = nn.LayerNorm(8); self.f = nn.Linear(8, 4); nn.init.constant_(self.f.weight, 0.1)",
            "return self.f(self.n(self.head(F.relu(self.c(x))).mean((2, 3))))",
            ("f.weight",),
        ),
    ],
)
def test_zero_initialized_parameters_are_redrawn_to_compare(parities, init, forward, names):
    said = parities(init, forward, IMAGE, precisions=(FP32, DYNAMIC, INT8))

    assert {parity.state for parity in said.values()} == {"ok"}, said
    assert {parity.redrawn for parity in said.values()} == {names}
    assert 0 < said[FP32].relative < 1e-5 and said[INT8].sqnr_db < 100


def test_what_redrawing_does_not_reveal_stays_unknown(parities):
    init = "self.p = nn.Parameter(torch.zeros(1, 5)); self.q = nn.Parameter(torch.zeros(1, 5))"
    parity = parities(init, "return self.p + self.q + 0 * x.mean((1, 2, 3))", IMAGE)[FP32]

    assert (parity.state, parity.redrawn) == ("unknown", ())


def test_a_network_that_is_folded_away_stays_unknown(parities):
    init = BACKBONE.format(channels=4) + "\nself.gamma = nn.Parameter(torch.zeros(4))"
    parity = parities(init, "return self.head(F.relu(self.c(x))).mean((2, 3)) * self.gamma", IMAGE)[FP32]

    assert (parity.state, parity.redrawn) == ("unknown", ())
    assert parity.reason.endswith("with gamma redrawn, the artifact has other operators")
