"""Keys of the conversion cache: SHA-256 over everything that decides the bytes of an artifact."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions, entry_points, version
from typing import Any

from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.backends import RUNTIME_OF_FORMAT
from nnlite.catalog.model import canonical_json
from nnlite.vocabulary import CALIBRATED, ArtifactFormat, Int8Io, Precision

#: Increase when a change of the conversion itself changes artifacts.
GENERATION = 1
#: Increase when a precision may be made now that was refused before: it is tried again then. Artifacts stay.
QUANTIZING = 8
#: Increase when noise differs that networks with several inputs of floats are calibrated on. 2: each input
#: has numbers of its own.
NOISE = 2
#: Increase when artifacts of the precision `dynamic` change. 2: linear layers quantize their inputs with a
#: zero point.
DYNAMIC = 2
#: Rewrites of the first release, which are in every key. A later one is not in keys as long as it serves what
#: could not be converted before, because there are no artifacts that it changes.
REWRITES = ("adaptive_max_pool2d", "high_rank_linear")
#: Packages that register entry points in this group bring rewrites, and are in every key by their versions.
PACKAGES_GROUP = "nnlite.rewrites"


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A rewrite that changes artifacts which were made before it, or by an earlier version of it."""

    version: int
    #: What the code of a model contains that may use the operator.
    code: re.Pattern[str]


#: By the names of rewrites, which `pipeline.lowering.rewrites` lists: importing them takes torch. They are in
#: the keys of the models that they may change.
REVISIONS: Mapping[str, Revision] = {
    "average_within_volume": Revision(version=1, code=re.compile(r"[Aa]vg_?[Pp]ool3d")),
    # Of the networks in timm, torchvision and transformers, only CoaT (its parallel blocks) and DepthPro
    # resize so by what may be no ratio of the sizes. The others double, go by a size, or align corners.
    "bilinear_by_index": Revision(
        version=1,
        code=re.compile(
            r"bilinear[\s\S]*scale_factor|scale_factor[\s\S]*bilinear"
            r"|\bcoat_(?!lite)|\bCoaT\b|\bDepthPro|\bdepth_?pro\b"
        ),
    ),
    "compared_bytes": Revision(version=1, code=re.compile("int8")),
    "computed_weights": Revision(version=1, code=re.compile(r"conv2d\(|conv_transpose2d\(|_conv_forward")),
    "indices_of_max_pool": Revision(version=1, code=re.compile("return_indices|_with_indices")),
    "needless_expand": Revision(
        version=1, code=re.compile(r"\bexpand(_as)?\b|broadcast_to|torchvision\.(models|ops)|\btimm\b")
    ),
    # Of what it makes right, what `forward` assigns to the data of a tensor was converted before.
    "known_values": Revision(
        version=1, code=re.compile(r"def forward\((?:(?!\n *def )[\s\S])*\.data\s*=[^=]")
    ),
    "nearest_by_index": Revision(
        version=1, code=re.compile(r"interpolate|[Uu]psampl|torchvision\.(models|ops)|\btimm\b")
    ),
    "product_with_matrix": Revision(version=1, code=re.compile("einsum")),
    # 2: those of floats are not of a rounded quotient.
    "remainder_of_truncated_quotient": Revision(version=2, code=re.compile("fmod")),
    # 2: as above.
    "rounded_quotient": Revision(version=2, code=re.compile("rounding_mode|floor_?div|(?<!:)//")),
    # Those with a stride in one dimension only were converted before, and those with a bias got an addition.
    "unsupported_convolution": Revision(
        version=1,
        code=re.compile(r"[Cc]onv_?[Tt]ranspose1d|[Cc]onv_?[Tt]ranspose2d\([^\n]*[(\[]\d|output_padding"),
    ),
    # Of what it replaces, products with an empty slice were converted before.
    "without_empty_tensors": Revision(version=1, code=re.compile(r"\[[^\[\]]*:\s*-?0\s*[,\]]")),
    "zeros_where_all_is_masked": Revision(
        version=1, code=re.compile(r"scaled_dot_product_attention|\b(transformers|diffusers)\b")
    ),
    "zeros_where_layers_mask_all": Revision(
        version=1, code=re.compile(r"key_padding_mask|MultiheadAttention[\s\S]*\battn_mask=")
    ),
}
_LIBRARIES = ("torch", "litert-torch", "litert-converter", "ai-edge-quantizer")


def revised_rewrites(code: str | None) -> tuple[str, ...]:
    """Return names and versions of the revised rewrites that may change a model.

    Args:
        code: of the model; None: it is not known.
    """
    return tuple(
        f"{name}-{revision.version}"
        for name, revision in sorted(REVISIONS.items())
        if code is None or revision.code.search(code)
    )


@cache
def converter_tag(revised: tuple[str, ...] = ()) -> str:
    """Return the versions of the libraries and of the rewrites: an artifact's column `converter`."""
    libraries = [f"{name} {version(name)}" for name in _LIBRARIES]
    ours = f"nnlite {GENERATION} ({' '.join([*sorted(REWRITES), *revised])})"
    return ", ".join([*libraries, ours, *packages_with_rewrites()])


def packages_with_rewrites() -> tuple[str, ...]:
    """Return names and versions of the installed packages that bring rewrites."""
    distributions = {entry.dist for entry in entry_points(group=PACKAGES_GROUP) if entry.dist}
    return tuple(sorted(f"{each.name} {each.version}" for each in distributions))


def missing_exporters(artifact_format: ArtifactFormat) -> tuple[str, ...]:
    """Return which distributions that make files of a format, not `.tflite`, are not installed."""
    exporters = RUNTIME_OF_FORMAT[artifact_format].exporters
    return tuple(name for name in exporters if not any(distributions(name=name)))


@cache
def format_tag(artifact_format: ArtifactFormat) -> str:
    """Return the versions of what makes files of a format, not `.tflite`: their column `converter`."""
    if missing := missing_exporters(artifact_format):
        return f"none; {', '.join(missing)} not installed"
    runtime = RUNTIME_OF_FORMAT[artifact_format]
    libraries = [f"{name} {version(name)}" for name in runtime.exporters]
    return ", ".join([*libraries, f"nnlite {runtime.generation}"])


def format_key(identity: str, artifact_format: ArtifactFormat) -> str:
    """Return the key of a model's file in a format, not `.tflite` (SHA-256, hexadecimal)."""
    parts = {"identity": identity, "format": artifact_format, "converter": format_tag(artifact_format)}
    return hashlib.sha256(canonical_json(parts)).hexdigest()


@cache
def runtime_tag() -> str:
    """Return the version of the runtime that runs pre-built files: their column `converter`."""
    return f"none; run by ai-edge-litert {version('ai-edge-litert')}"


def prebuilt_key(identity: str) -> str:
    """Return the key of a pre-built file (SHA-256, hexadecimal); it does not depend on the converter."""
    return hashlib.sha256(canonical_json({"identity": identity, "ready": runtime_tag()})).hexdigest()


def cache_key(
    identity: str,
    precision: Precision,
    calibration: Calibration | None = None,
    int8_io: Int8Io = Int8Io.FLOAT,
    revised: tuple[str, ...] = (),
    *,
    float_inputs: int = 1,
) -> str:
    """Return the key of a model's artifact in one precision (SHA-256, hexadecimal).

    Args:
        calibration: affects int8 and mixed only.
        int8_io: affects int8 only.
        revised: the model's `revised_rewrites`.
        float_inputs: number of the network's inputs that are floats, as far as its source names them.
    """
    converter = converter_tag(revised)
    parts: dict[str, Any] = {"identity": identity, "precision": precision, "converter": converter}
    if precision in CALIBRATED:
        parts |= {"calibration": calibration and calibration.key()}
        if calibration and calibration.kind is CalibrationKind.NOISE and float_inputs > 1:
            parts |= {"noise": NOISE}
    if precision is Precision.DYNAMIC:
        parts |= {"dynamic": DYNAMIC}
    if precision is Precision.INT8:
        parts |= {"int8_io": int8_io}
    return hashlib.sha256(canonical_json(parts)).hexdigest()
