"""Limits on models (size, input, name) from the settings, the same for every source."""

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

from nnlite.catalog.model import CatalogModel
from nnlite.settings.groups import CatalogSettings


def apply_limits(models: Iterable[CatalogModel], limits: CatalogSettings) -> list[CatalogModel]:
    """Return the models, with those beyond a limit marked as skipped; earlier reasons stay."""
    return [_limited(model, limits) for model in models]


def _limited(model: CatalogModel, limits: CatalogSettings) -> CatalogModel:
    reason = None if model.skipped else _beyond(model, limits)
    # To copy all of LEMUR's models would take as long as to judge them.
    return replace(model, skipped=reason) if reason else model


def _beyond(model: CatalogModel, limits: CatalogSettings) -> str | None:
    if not model.name.isprintable():  # it would be in tables, logs, and the names of files
        return f"name: {model.name!r} has characters that cannot be printed; rename the file"
    if pattern := next((each for each in limits.exclude if fnmatchcase(model.name, each)), None):
        return f"excluded by name: {pattern} in NNLITE_CATALOG__EXCLUDE"
    height, width = model.input_shape[2:] if model.input_shape else (0, 0)
    if max(height, width) > limits.max_input_side:
        return (
            f"input too large: {height} x {width} pixels are above the limit of {limits.max_input_side}; "
            "NNLITE_CATALOG__MAX_INPUT_SIDE raises it"
        )
    if model.parameters is not None and model.parameters > limits.max_parameters:
        return (
            f"too many parameters: {model.parameters:,} are above the limit of {limits.max_parameters:,}; "
            "NNLITE_CATALOG__MAX_PARAMETERS raises it"
        )
    return None
