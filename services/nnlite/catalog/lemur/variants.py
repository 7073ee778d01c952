"""Selects configurations of one architecture that are different networks (`--configs`), and names them.

The chosen configuration keeps the architecture's name, and therefore its identity; the others append the
difference: `ResNet@svhn,norm_64`.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from nnlite.catalog.lemur.configuration import BEST
from nnlite.catalog.model import CatalogError, CatalogModel, canonical_json

#: Every configuration that is a different network.
ALL = "all"
#: Separates an architecture's name from the difference of a configuration.
SEPARATOR = "@"
#: Beyond this, a hash stands for the rest: exports cut the names of files.
_LONGEST_LABEL = 48


def parse_configs(text: str) -> int | None:
    """Parse `--configs`: the number of configurations, or None for all.

    Raises:
        CatalogError: `text` is not best, all or a number.
    """
    if text == BEST:
        return 1
    if text == ALL:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise CatalogError(f"--configs {text!r} must be best, all or a number above 0")
    return int(text)


def architecture(name: str) -> str:
    """Return the name of the architecture that the model `name` is a configuration of."""
    return name.partition(SEPARATOR)[0]


def network_hyperparameters(
    hyperparameters: Mapping[str, Any], keys: frozenset[str] | None
) -> dict[str, Any]:
    """Return the hyperparameters that may change the network; `keys` names those that may, None: all."""
    return {
        key: value
        for key, value in hyperparameters.items()
        if (keys is None or key in keys) and key != "transform"
    }


def fingerprint(model: CatalogModel, keys: frozenset[str] | None) -> bytes:
    """Return bytes that differ wherever two configurations of one architecture may be different networks."""
    # Where only the conversion child can tell the shape, the inputs of that decision stand for it.
    shape = model.input_shape or [model.transform_sha256, model.dataset, model.skipped]
    return canonical_json(
        [shape, model.input_dtype, model.classes, network_hyperparameters(model.hyperparameters, keys)]
    )


def label(model: CatalogModel, best: CatalogModel, keys: frozenset[str] | None) -> str:
    """Return a readable list of the differences between a configuration and the chosen one."""
    parts = [
        str(mine)
        for mine, others in ((model.dataset, best.dataset), (model.transform, best.transform))
        if mine != others
    ]
    for key, value in sorted(network_hyperparameters(model.hyperparameters, keys).items()):
        if value != best.hyperparameters.get(key):
            parts.append(f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}")
    return ",".join(parts)


class Names:
    """Names of the configurations of one architecture: unique, also as the names of files."""

    def __init__(self, architecture: str) -> None:
        self._architecture = architecture
        self._taken: set[str] = set()

    def of(self, text: str, fingerprint: bytes) -> str:
        """Return a name from a label; `fingerprint` distinguishes the network."""
        if len(text) > _LONGEST_LABEL or not text or self._file_name(text) in self._taken:
            digest = hashlib.sha256(fingerprint).hexdigest()[:8]
            text = f"{text[: _LONGEST_LABEL - 9]}-{digest}".lstrip("-")
        self._taken.add(self._file_name(text))
        return f"{self._architecture}{SEPARATOR}{text}"

    @staticmethod
    def _file_name(text: str) -> str:
        return re.sub(r"[^\w.-]", "_", text, flags=re.ASCII)
