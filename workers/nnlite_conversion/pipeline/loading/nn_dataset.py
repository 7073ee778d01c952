"""What LEMUR's models expect of the program that trains them, where the conversion child has no such program.

nn-dataset's loader gives captioning models a vocabulary through its own module, and torchvision downloads
weights that LEMUR's models begin their training with. Here the vocabulary is made up, and weights stay as
they were drawn: neither changes a network's operators.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch.nn.modules.module import _IncompatibleKeys

#: Where captioning models import the vocabulary from.
_CAPTION_MODULE = "ab.nn.loader.coco_.Caption"
_SPECIAL_WORDS = ("<PAD>", "<SOS>", "<EOS>", "<UNK>")


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
