"""The key of the conversion cache: what must be equal for two artifacts to be the same."""

import hashlib
from functools import cache
from importlib.metadata import version

from nnlite.catalog.model import canonical_json
from nnlite.vocabulary import Precision
from nnlite_conversion.rewrites import rewrite_names

#: Counts up when the conversion itself changes what comes out.
GENERATION = 1
_LIBRARIES = ("torch", "litert-torch", "litert-converter", "ai-edge-quantizer")


@cache
def converter() -> str:
    """Return the libraries, their versions and our rewrites, as they stand with every artifact."""
    libraries = [f"{name} {version(name)}" for name in _LIBRARIES]
    return ", ".join([*libraries, f"nnlite {GENERATION} ({' '.join(sorted(rewrite_names()))})"])


def cache_key(identity: str, precision: Precision) -> str:
    """Return the key of the artifact of a model in one precision (SHA-256, hexadecimal)."""
    parts = {"identity": identity, "precision": precision, "converter": converter()}
    return hashlib.sha256(canonical_json(parts)).hexdigest()
