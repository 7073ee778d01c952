"""Whether a user's calibration arrays fit the inputs of a campaign's models, as far as they are known."""

from collections.abc import Mapping, Sequence

from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.artifacts.samples import SamplesError, arrays
from nnlite.artifacts.store import ArtifactStore
from nnlite.catalog.model import CatalogModel, ModelInput
from nnlite.vocabulary import Layout

#: Shape of an array's samples, and the NumPy name of its type.
Samples = tuple[tuple[int, ...], str]
_PICTURES = "uint8"


def check_fit(calibration: Calibration, models: Sequence[CatalogModel], store: ArtifactStore) -> None:
    """Check that the arrays fit at least one model; int8 of the others is refused when they are converted.

    Raises:
        SamplesError: they fit none; the message has both shapes.
        StoreError: they cannot be read.
    """
    if calibration.kind is not CalibrationKind.ARRAYS or calibration.path is None:
        return
    taken = [model for model in models if model.skipped is None]
    if not taken:
        return
    named = arrays(store.fetch(calibration.path))
    samples = {name: (tuple(array.shape[1:]), array.dtype.name) for name, array in named.items()}
    reasons = [misfit(samples, model) for model in taken]
    if None not in reasons:
        others = f" (and none of {len(taken) - 1:,} others)" if len(taken) > 1 else ""
        raise SamplesError(
            f"calibration data {calibration.name} does not fit {taken[0].name}{others}: {reasons[0]}; "
            "each array has one input's samples along its first dimension"
        )


def misfit(samples: Mapping[str, Samples], model: CatalogModel) -> str | None:
    """Return why arrays do not fit a model's inputs; None: they do, or its inputs are not known.

    Args:
        samples: by the names of the arrays.
    """
    inputs = _inputs(model)
    if not inputs:
        return None
    if len(samples) == 1 and all(each.is_image and each.dtype != _PICTURES for each in inputs):
        (shape, dtype), *_ = samples.values()
        if dtype == _PICTURES:
            picture = len(shape) == 2 or (len(shape) == 3 and {shape[0], shape[2]} & {1, 3})
            return None if picture else f"an array of shape {shape} is no picture"
    if len(samples) != len(inputs):
        return f"{len(samples)} arrays for {len(inputs)} inputs"
    for (name, (shape, _)), taken in zip(samples.items(), inputs, strict=True):
        wanted = _sample_shapes(taken, model.layout)
        if shape not in wanted:
            expected = " or ".join(map(str, wanted))
            return f"samples of array {name} have the shape {shape}, the input takes {expected}"
    return None


def _inputs(model: CatalogModel) -> tuple[ModelInput, ...]:
    if model.inputs or model.input_shape is None:
        return model.inputs
    return (ModelInput(shape=model.input_shape, dtype=model.input_dtype),)


def _sample_shapes(taken: ModelInput, layout: Layout) -> list[tuple[int, ...]]:
    """Return the shapes that a sample of an input may have; images come in either layout."""
    shape = taken.shape[1:] if taken.batched and len(taken.shape) > 1 else taken.shape
    if not taken.is_image or layout is not Layout.NHWC:
        return [shape]
    channels, *size = shape
    return [(*size, channels), shape]
