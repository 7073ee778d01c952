"""Models and their sources: the one type that every source returns, and what a source must offer."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import orjson

from nnlite.errors import NnliteError
from nnlite.vocabulary import Layout, ModelFormat

#: Provenance of weights where a source ships none.
SEEDED_WEIGHTS = "init:seed=0"


class CatalogError(NnliteError):
    """A source, or a model in it, cannot be found or read."""


class SourceOptionError(CatalogError):
    """There is no such source, or it does not take an option."""

    exit_code = 2


def canonical_json(value: Any) -> bytes:
    """Return the canonical JSON of `value`: sorted keys, no white space, UTF-8."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def text_sha256(text: str) -> str:
    """Return the SHA-256 of `text` as hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ModelInput:
    """One input of a network."""

    #: As `forward` takes it; images: (N, C, H, W).
    shape: tuple[int, ...]
    #: NumPy name.
    dtype: str = "float32"
    #: The keyword that `forward` takes it by; empty: by its position.
    name: str = ""
    #: One letter for each axis; empty: not named, and the first of several is the batch.
    axes: str = ""

    @property
    def batched(self) -> bool:
        """Whether the first axis is the batch."""
        return self.axes[:1] in ("", "N")

    @property
    def is_image(self) -> bool:
        """Whether it is (N, C, H, W), as far as is known."""
        return len(self.shape) == 4 and self.axes in ("", "NCHW")

    def hashed(self) -> "ModelInput | _UnnamedInput":
        """Return what identities hash: without the fields of later releases where they are not set."""
        return self if self.name or self.axes else _UnnamedInput(shape=self.shape, dtype=self.dtype)


@dataclass(frozen=True, kw_only=True)
class _UnnamedInput:
    """An input as the first release hashed it: in this order of fields, which JSON of a dataclass keeps."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class ModelDefinition:
    """Definition of a network: the fields that a catalog row and a conversion job share."""

    name: str
    #: Name of the transform; None where the source has none.
    transform: str | None = None
    #: Empty: unknown, as of plain files.
    task: str = ""
    dataset: str = ""
    #: What the constructor is given; `accuracy`, `duration` and `uid` are not among them.
    hyperparameters: dict[str, Any] = field(default_factory=dict, hash=False)
    #: (N, C, H, W) with N = 1; None where only the conversion child can tell.
    input_shape: tuple[int, int, int, int] | None = None
    #: NumPy name of the input's dtype.
    input_dtype: str = "float32"
    #: Outputs per image or per pixel; 0 where it is not known, and then the model is skipped.
    classes: int = 0
    #: `init:seed=0`, or the SHA-256 of a file: of weights, or of the whole model where it has no code.
    weights: str = SEEDED_WEIGHTS
    #: How that file's name ends, such as `.safetensors`; None without a file.
    weights_suffix: str | None = None
    #: Every input where a source names them; empty: one image, as `input_shape` says.
    inputs: tuple[ModelInput, ...] = ()
    layout: Layout = Layout.NHWC
    model_format: ModelFormat = ModelFormat.LEMUR
    #: Name of the class or factory in the code, for the format `python`.
    entry_point: str | None = None

    @property
    def trained(self) -> bool:
        """Whether it has weights of its own, and not drawn ones."""
        return self.weights != SEEDED_WEIGHTS


@dataclass(frozen=True, kw_only=True)
class CatalogModel(ModelDefinition):
    """One architecture with one chosen configuration: a row of a catalog.

    Code stays with the source until a campaign takes the model; only its hash is here.
    """

    source: str
    #: SHA-256 of the model's code; None where there is no code, only a file.
    code_sha256: str | None = None
    metric: str = ""
    #: SHA-256 of the transform's file; None where the source has none.
    transform_sha256: str | None = None
    #: `trial:<uid>` or `default`.
    configuration_source: str = "default"
    #: Accuracy of the chosen trial, 0..1; None without statistics.
    accuracy: float | None = None
    #: Number of parameters where it is known before a conversion.
    parameters: int | None = None
    #: Why this model is not converted; None: it is.
    skipped: str | None = None

    @cached_property
    def identity(self) -> str:
        """SHA-256 over code, configuration and weights: equal identities give equal artifacts."""
        if self.model_format is ModelFormat.PREBUILT:
            # The file alone decides: it is measured as it is, whichever source names it.
            return hashlib.sha256(canonical_json({"artifact": self.weights})).hexdigest()
        parts = {
            "code": self.code_sha256,
            "hyperparameters": self.hyperparameters,
            "transform": self.transform,
            "transform_sha256": self.transform_sha256,
            "dataset": self.dataset,
            "channels": self.input_shape[1] if self.input_shape else None,
            "size": self.input_shape[2:] if self.input_shape else None,
            "classes": self.classes,
            "weights": self.weights,
        }
        return hashlib.sha256(canonical_json(parts | self._beyond_lemur())).hexdigest()

    def _beyond_lemur(self) -> dict[str, Any]:
        """Return the fields that only non-LEMUR models set, under the names that the first release hashed.

        Defaults are omitted, so that the identities of LEMUR's models do not change.
        """
        parts = {
            "form": (self.model_format, ModelFormat.LEMUR),
            "entry": (self.entry_point, None),
            "inputs": (tuple(each.hashed() for each in self.inputs), ()),
            "layout": (self.layout, Layout.NHWC),
        }
        return {name: value for name, (value, default) in parts.items() if value != default}


@dataclass(frozen=True, kw_only=True)
class ModelSpec(ModelDefinition):
    """Everything that the conversion child needs to build a model, except the bytes of its file."""

    #: None where there is no code, only a file.
    code: str | None
    #: Code of the transform; None where the source has none.
    transform_code: str | None


class ModelSource(Protocol):
    """A source of models. An entry point of the group `nnlite.sources` names a callable that returns it.

    The callable takes the `Settings`, and the options of the source as keyword arguments.
    """

    #: Its name in requests and rows: `lemur`, `nngpt`, `files`.
    name: str

    def models(self) -> list[CatalogModel]:
        """Return every model, skipped ones included, sorted by name.

        Raises:
            CatalogError: the source cannot be read; the message says where it looked.
        """

    def code(self, model: CatalogModel) -> str:
        """Return the model's code, whose SHA-256 is `model.code_sha256`."""

    def transform_code(self, model: CatalogModel) -> str | None:
        """Return the code of the model's transform, or None where it has none."""

    def weights_file(self, model: CatalogModel) -> Path:
        """Return the file whose SHA-256 is `model.weights`; called only for models with `weights_suffix`."""


@runtime_checkable
class FollowableSource(ModelSource, Protocol):
    """Optional protocol of a source that gains models over time (`--follow`)."""

    def grown(self) -> tuple[list[CatalogModel], int]:
        """Return the complete models, skipped ones included, and the number of incomplete ones.

        A tree that is missing, empty or half written raises nothing.
        """
