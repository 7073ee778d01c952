"""Model manifests: parses the TOML file next to a model, and inputs written as text.

`net.toml` describes `net.py` and `net.pt2`; `model.toml` every file of its folder that has no such file.
"""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from nnlite.catalog.model import CatalogError, ModelInput
from nnlite.errors import plain
from nnlite.vocabulary import Layout

#: Types of a network's inputs: those of `.tflite`, and 64-bit indices, which become 32-bit.
DTYPES: Final = ("float32", "int32", "int64", "int8", "uint8", "bool")
MAX_BYTES: Final = 1 << 20
_MAX_ELEMENTS: Final = 1 << 28
#: A size, after the letter of its axis where axes are named.
_SIZE: Final = r"[A-Z]?\d+"
_INPUT: Final = re.compile(
    rf"((?P<name>[A-Za-z_]\w*)=)?(?P<shape>{_SIZE}(x{_SIZE})*)(:(?P<dtype>\w+))?", re.ASCII
)
#: Sizes that are not fixed, as other tools write them.
_DYNAMIC: Final = re.compile(r"(?:^|[x=])(\?|-1|\*|None|[A-Za-z]\w*)(?=x|:|$)")
#: For every file of its folder.
_SHARED: Final = "model.toml"


class Manifest(BaseModel):
    """The keys of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: tuple[str, ...] = ()
    class_: str | None = Field(None, alias="class")
    factory: str | None = None
    #: Of the class or factory.
    arguments: dict[str, JsonValue] = {}
    weights: str | None = None
    layout: Layout | None = None
    task: str = ""
    dataset: str = ""
    metric: str = ""
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None

    @field_validator("weights")
    @classmethod
    def _in_folder(cls, weights: str | None) -> str | None:
        if weights is not None and (
            PurePosixPath(weights).is_absolute() or ".." in PurePosixPath(weights).parts
        ):
            raise ValueError("weights must be in this file's folder or below it")
        return weights

    @model_validator(mode="after")
    def _one_entry(self) -> Self:
        if self.class_ and self.factory:
            raise ValueError("give class or factory, not both")
        return self


@dataclass(frozen=True, kw_only=True)
class Description:
    """Metadata of a model from its manifest."""

    #: The TOML file; None: the model has none.
    file: Path | None = None
    manifest: Manifest = field(default_factory=Manifest)
    inputs: tuple[ModelInput, ...] = ()
    weights: Path | None = None


def parse_input(text: str) -> ModelInput:
    """Parse an input's keyword, shape and type: `1x3x224x224:float32`, `mask=1x16:bool`, `T16xF80`.

    The shape is that of `forward`, batch first: images are N, C, H, W, whatever the artifact's layout. Axes
    that are named, each by one capital letter, have a batch only if the first is N. The default type is
    float32.

    Raises:
        CatalogError: the text is malformed, a size is not fixed, its type is not supported on phones, or it
            is too large.
    """
    match = _INPUT.fullmatch(text.strip())
    if match is None:
        raise CatalogError(_malformed(text))
    sizes = match["shape"].split("x")
    axes = "".join(size[0] for size in sizes if size[0].isalpha())
    if axes and (len(axes) < len(sizes) or len(set(axes)) < len(axes)):
        raise CatalogError(f"input {text}: name every axis by a letter of its own, as in N1xT16xF80, or none")
    shape, dtype = tuple(int(size.lstrip(axes)) for size in sizes), match["dtype"] or "float32"
    if dtype not in DTYPES:
        raise CatalogError(f"input {text}: the type {dtype} is none of {', '.join(DTYPES)}")
    elements = 1
    for size in shape:
        elements *= size
    if not 0 < elements <= _MAX_ELEMENTS:
        raise CatalogError(f"input {text} has {elements:,} elements; 1 to {_MAX_ELEMENTS:,} are possible")
    parsed = ModelInput(shape=shape, dtype=dtype, name=match["name"] or "", axes=axes)
    if len(shape) > 1 and parsed.batched and shape[0] != 1:
        raise CatalogError(
            f"input {text} is a batch of {shape[0]}; phones run one at a time: 1x...; if its first axis is "
            "no batch, name the axes by letters, as in T16xF80"
        )
    return parsed


def parse_inputs(texts: Iterable[str]) -> tuple[ModelInput, ...]:
    """Parse all inputs of a network: those by position, then those by keyword.

    Raises:
        CatalogError: as `parse_input`; the order is another, or a keyword occurs twice.
    """
    inputs = tuple(map(parse_input, texts))
    names = [each.name for each in inputs if each.name]
    if len(set(names)) < len(names):
        raise CatalogError(f"an input is named twice: {', '.join(names)}")
    if any(each.name for each in inputs[: len(inputs) - len(names)]):
        raise CatalogError(f"inputs with a name ({', '.join(names)}) come after those without one")
    return inputs


def _malformed(text: str) -> str:
    if dynamic := _DYNAMIC.search(text):
        return (
            f"input {text!r} has the dynamic size {dynamic[1]}; the sizes of an artifact are fixed: give a "
            "number, such as 1x3x224x224, and one model for each size"
        )
    return (
        f"input {text!r} is not written as SHAPE, SHAPE:TYPE or NAME=SHAPE:TYPE, such as "
        "1x3x224x224:float32, mask=1x16:bool or, with named axes and no batch, T16xF80"
    )


def describe(model: Path) -> Description:
    """Return the manifest of `model`, or an empty description.

    Raises:
        CatalogError: the TOML cannot be read, or has unknown keys or values.
    """
    for file in (model.with_suffix(".toml"), model.with_name(_SHARED)):
        if file.is_file():
            return _read(file)
    return Description()


def _read(file: Path) -> Description:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise CatalogError(f"{file} has {file.stat().st_size:,} bytes, too many for a manifest")
        manifest = Manifest.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
        inputs = parse_inputs(manifest.inputs)
    except OSError as error:
        raise CatalogError(f"{file} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CatalogError(f"{file}: {place + ': ' if place else ''}{plain(first['msg'])}") from error
    except (CatalogError, ValueError) as error:  # invalid TOML or UTF-8
        raise CatalogError(f"{file}: {error}") from error
    weights = _there(file.parent / manifest.weights, file) if manifest.weights else None
    return Description(file=file, manifest=manifest, inputs=inputs, weights=weights)


def _there(weights: Path, file: Path) -> Path:
    if not weights.is_file():
        raise CatalogError(f"{file}: weights: no such file: {weights}")
    if weights.suffix not in (".safetensors", ".pt", ".pth"):
        raise CatalogError(f"{file}: weights: {weights.name} ends in none of .safetensors, .pt, .pth")
    return weights
