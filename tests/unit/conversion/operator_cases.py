"""Networks of one or a few operators, whose lowering is compared with and without shortcuts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional

IMAGE, ROWS, WORDS = (1, 4, 6, 6), (2, 8), (1, 5, 8)


@dataclass(frozen=True)
class Case:
    """A network with one input of floats."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = IMAGE

    def network(self) -> nn.Module:
        """Return it in eval mode, with weights that are always the same."""
        torch.manual_seed(0)
        return self.build().eval()


class Function(nn.Module):
    """A function of one tensor as a network."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


class Mlp(nn.Sequential):
    """Linear layers: with and without bias, and with activations that work in place."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(8, 6), nn.ReLU(inplace=True), nn.Dropout(0.5, inplace=True),
            nn.Linear(6, 6, bias=False), nn.SiLU(inplace=True), nn.Linear(6, 3),
        )  # fmt: skip


class Tied(nn.Module):
    """Two layers that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


class Block(nn.Module):
    """A residual block: convolutions, normalization, sums in place."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
            nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False), nn.BatchNorm2d(4),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        y += x
        return functional.relu_(y)


class Attention(nn.Module):
    """Self-attention over words."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x, x, x, need_weights=False)[0]


_FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.relu,
    "relu6": functional.relu6,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "mish": functional.mish,
    "softplus": functional.softplus,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "sqrt": lambda x: torch.sqrt(x + 1),
    "neg": torch.neg,
    "add": lambda x: x + x.mean(dim=(2, 3), keepdim=True),
    "numbers": lambda x: (2 * x + 1 - x / 3) * 0.5,
    "softmax": lambda x: torch.softmax(x, 1),
    "max_pool": lambda x: functional.max_pool2d(x, 2),
    "max_pool_overlapping": lambda x: functional.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "avg_pool": lambda x: functional.avg_pool2d(x, 2),
    "avg_pool_padded": lambda x: functional.avg_pool2d(x, 3, 2, 1),
    "adaptive_avg_pool": lambda x: functional.adaptive_avg_pool2d(x, 1).flatten(1),
    "adaptive_avg_pool_larger": lambda x: functional.adaptive_avg_pool2d(x, (4, 5)),
    "adaptive_avg_pool_uneven": lambda x: functional.adaptive_avg_pool2d(x[:, :, 1:, 1:], 3),
    "bilinear": lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    "nearest": lambda x: functional.interpolate(x, scale_factor=2),
    "cat": lambda x: torch.cat([x, x * 2], 1),
    "chunk": lambda x: torch.mul(*x.chunk(2, 1)),
    "slice": lambda x: x[:, 1:, ::2],
    "select": lambda x: x[:, 0] + x[:, -1],
    "permute": lambda x: x.permute(0, 2, 3, 1).reshape(1, -1),
    "unsqueeze": lambda x: x.unsqueeze(1).squeeze(0),
    "expand": lambda x: x[:, :1].expand(-1, 3, -1, -1).contiguous(),
    "pad": lambda x: functional.pad(x, (1, 2, 0, 1)),
    "pad_reflect": lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"),
    "matmul": lambda x: x @ x.transpose(2, 3),
    "pixel_shuffle": lambda x: functional.pixel_shuffle(x, 2),
    "same_type": lambda x: torch.stack([x, x * 2]).to(x.dtype).mean(0),
    "to_integers": lambda x: x.to(torch.int32),
    "amax": lambda x: x.amax((2, 3), keepdim=True) - x.amin(1, keepdim=True),
    "max_of_dim": lambda x: x.max(1)[0] + x.min(1)[0],
    "sums": lambda x: x.sum(1, keepdim=True) + x.sum(),
    "elementwise": lambda x: torch.sin(x) + torch.cos(x) - torch.floor(x) * torch.ceil(x),
    "minimum": lambda x: torch.minimum(x, x * x) + torch.maximum(x, -x),
    "power": lambda x: x**2 + (x + 1) ** 0.5,
    "compared": lambda x: torch.where((x >= 0.5) | (x == 1), x, x * 2) * ((x < 0.2) | (x != 0) | (x <= 1)),
    "pad_edges": lambda x: functional.pad(x, (1, 1, 1, 1), mode="replicate"),
    "elu_in_place": lambda x: functional.leaky_relu_(functional.elu_(x + 1), 0.1),
    "view_changed_in_place": lambda x: (y := x + 1, y.view(-1).relu_(), y)[2],
    "input_of_view_changed": lambda x: (y := x + 1, z := y.view(-1), y.sub_(0.5), z * 2)[3],
}
_MODULES: dict[str, Callable[[], nn.Module]] = {
    "convolution": lambda: nn.Conv2d(4, 6, 3, 2, 1),
    "depthwise": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 2, 2),
    "batch_norm": lambda: nn.BatchNorm2d(4),
    "group_norm": lambda: nn.GroupNorm(2, 4),
    "instance_norm": lambda: nn.InstanceNorm2d(4, affine=True),
    "prelu": lambda: nn.PReLU(4),
    "block": Block,
}
_ROWS: dict[str, Callable[[], nn.Module]] = {"mlp": Mlp, "tied": Tied}
_WORDS: dict[str, Callable[[], nn.Module]] = {
    "layer_norm": lambda: nn.LayerNorm(8),
    "convolution_of_words": lambda: nn.Conv1d(5, 4, 3, padding=1),
    "linear_of_words": lambda: nn.Linear(8, 4),
    "attention": Attention,
}

CASES = (
    *(Case(name, partial(Function, function)) for name, function in _FUNCTIONS.items()),
    *(
        Case(name, build, shape)
        for builders, shape in ((_MODULES, IMAGE), (_ROWS, ROWS), (_WORDS, WORDS))
        for name, build in builders.items()
    ),
)
