"""Artifacts are the same, byte for byte, with and without the shortcuts of lowering."""

import pytest

from integration.conversion.models import network
from nnlite.vocabulary import Shortcut
from nnlite_conversion.isolation.conversion import convert

#: Common operators of images.
OPERATORS = network(
    """
    y = torch.relu(self.norm(self.conv(x)))
    y = F.max_pool2d(y, 3, 2, 1, ceil_mode=True)
    y = (torch.sigmoid(y) * 2 + torch.tanh(y) - F.silu(y)) / (torch.exp(-y) + 1)
    y = torch.sqrt(y * y + 0.5).permute(0, 2, 3, 1).unsqueeze(1).squeeze(1).clone()
    y = (y + y[:, :1, :1].expand(-1, 5, 5, -1)).reshape(1, -1)
    return self.last(F.relu(self.first(y)))
    """,
    """
    self.conv, self.norm = torch.nn.Conv2d(in_shape[1], 4, 3, padding=1), torch.nn.BatchNorm2d(4)
    self.first, self.last = torch.nn.Linear(100, 8, bias=False), torch.nn.Linear(8, out_shape[0])
    """,
)
#: Linear layers as AlexNet has them.
LAYERS = network(
    "return self.layers(self.conv(x).flatten(1))",
    """
    self.conv = torch.nn.Conv2d(in_shape[1], 4, 3)
    self.layers = torch.nn.Sequential(
        torch.nn.Dropout(), torch.nn.Linear(144, 4), torch.nn.ReLU(inplace=True),
        torch.nn.Dropout(inplace=True), torch.nn.Linear(4, 6), torch.nn.ReLU(),
        torch.nn.Linear(6, out_shape[0]),
    )
    """,
)


@pytest.fixture
def converted(job, settings, place):
    """Return a function from code and shortcuts to the hash of the artifact."""

    def run(code: str, *shortcuts: Shortcut) -> str:
        chosen = settings.model_copy(update={"shortcuts": shortcuts})
        with convert(
            job(code, max_parameters=2000), chosen, workdir=place, tick=lambda stage: True, tick_s=0.02
        ) as outcome:
            (artifact,) = outcome.artifacts
            assert artifact.parity.state == "ok"
            return artifact.sha256

    return run


@pytest.mark.parametrize("code", [OPERATORS, LAYERS], ids=["operators", "layers"])
def test_artifact_is_the_same_with_shortcuts_and_without(code, converted):
    assert converted(code, *Shortcut) == converted(code)
