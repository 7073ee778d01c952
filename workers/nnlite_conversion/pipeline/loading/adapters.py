"""Adapts LEMUR's networks that take or give more than tensors, or expect the program that trains them.

Detectors take a list of images and give as many boxes as they find, captioning networks may repeat their
input; a `.tflite` file has tensors of fixed shapes only. nn-dataset's loader gives captioning models a
vocabulary through its own module, and torchvision downloads weights that LEMUR's models begin their training
with: here the vocabulary is made up, and weights stay as drawn. Neither changes a network's operators.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch.nn import functional
from torch.nn.modules import transformer
from torch.nn.modules.module import _IncompatibleKeys

from nnlite.catalog.lemur.tasks import CAPTIONING, DETECTION
from nnlite.catalog.model import ModelInput, ModelSpec
from nnlite.vocabulary import ModelFormat, Stage
from nnlite_conversion.explanations import explained, refused

#: Parts of torchvision's one-stage detectors, which LEMUR's are made from.
_PARTS = ("transform", "backbone", "head")
#: Where captioning models import the vocabulary from.
_CAPTION_MODULE = "ab.nn.loader.coco_.Caption"
_SPECIAL_WORDS = ("<PAD>", "<SOS>", "<EOS>", "<UNK>")


def adapted(network: torch.nn.Module, spec: ModelSpec, image: ModelInput) -> torch.nn.Module:
    """Return a network that takes tensors and gives tensors.

    Args:
        network: in eval mode.
        spec: its definition.
        image: its first input.

    Raises:
        Failure: a detector without the parts that give its raw outputs.
    """
    if spec.model_format is not ModelFormat.LEMUR:
        return network
    if spec.task == DETECTION:
        return RawHeads(network, image).eval()
    if spec.task == CAPTIONING:
        return FirstOutput(network).eval()
    return network


def _is_causal(mask: torch.Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
    """Stands for PyTorch's look into a mask, which cannot be exported: the mask itself is applied then."""
    return bool(is_causal)


class FirstOutput(torch.nn.Module):  # type: ignore[misc]
    """Gives the first output only: the words' logits, not the captions that came in."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Run the network."""
        with mock.patch.object(transformer, "_detect_is_causal_mask", _is_causal):
            outputs = self.network(*inputs)
        return outputs[0] if isinstance(outputs, tuple | list) else outputs


class RawHeads(torch.nn.Module):  # type: ignore[misc]
    """Takes a batch of one image and gives what the heads of a one-stage detector give for it.

    These are logits and box regressions of every anchor, not decoded: the number of boxes that are left
    after thresholds and suppression depends on the image. Normalization, resizing and padding are those of
    the detector, for the one size that the input has.
    """

    def __init__(self, network: torch.nn.Module, image: ModelInput) -> None:
        super().__init__()
        missing = [name for name in _PARTS if not hasattr(network, name)]
        if missing:
            raise refused(f"its raw outputs cannot be found: the detector has no {' and no '.join(missing)}")
        self.network = network
        transform = network.transform
        try:
            with torch.no_grad():
                batch, _ = transform([torch.zeros(image.shape[1:])])
            self.size = tuple(map(int, batch.image_sizes[0]))
            self.padded = tuple(map(int, batch.tensors.shape[-2:]))
            mean, deviation = (
                torch.as_tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)
                for values in (transform.image_mean, transform.image_std)
            )
        except Exception as error:  # other people's code
            raise explained(
                Stage.LOAD, error, "its transform is not one of torchvision's detectors"
            ) from error
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)

    def forward(self, image: torch.Tensor) -> Any:
        """Run backbone and heads."""
        image = (image - self.mean) / self.deviation
        if tuple(image.shape[-2:]) != self.size:
            image = functional.interpolate(image, size=self.size, mode="bilinear", align_corners=False)
        height, width = (padded - size for padded, size in zip(self.padded, self.size, strict=True))
        if height or width:
            image = functional.pad(image, (0, width, 0, height))
        features = self.network.backbone(image)
        return self.network.head([features] if isinstance(features, torch.Tensor) else [*features.values()])


def provide_vocabulary(words: int) -> None:
    """Provide nn-dataset's module of the captions' vocabulary, with `words` words that are made up."""
    listed = [*_SPECIAL_WORDS, *(f"word{number}" for number in range(len(_SPECIAL_WORDS), words))]
    parts = _CAPTION_MODULE.split(".")
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        sys.modules[name] = ModuleType(name)
    vars(sys.modules[_CAPTION_MODULE])["GLOBAL_CAPTION_VOCAB"] = {
        "word2idx": {word: index for index, word in enumerate(listed)},
        "idx2word": dict(enumerate(listed)),
    }


class _NotDownloaded(dict[str, Any]):
    """Stands for the weights that torchvision would download."""


@contextmanager
def without_downloads() -> Iterator[None]:
    """Let torchvision's builders keep the weights that they draw, instead of downloading trained ones."""
    api = sys.modules.get("torchvision.models._api")
    if api is None:
        yield
        return
    load = torch.nn.Module.load_state_dict

    def load_state_dict(
        network: torch.nn.Module, state_dict: Mapping[str, Any], *arguments: Any, **options: Any
    ) -> Any:
        if isinstance(state_dict, _NotDownloaded):
            return _IncompatibleKeys([], [])
        return load(network, state_dict, *arguments, **options)

    with (
        mock.patch.object(api.WeightsEnum, "get_state_dict", lambda *_, **__: _NotDownloaded()),
        mock.patch.object(torch.nn.Module, "load_state_dict", load_state_dict),
    ):
        yield
