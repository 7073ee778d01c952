"""Limits on models (size, input, name) from the settings, the same for every source."""

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

from nnlite.catalog.model import CatalogModel
from nnlite.settings.groups import CatalogSettings


def apply_limits(models: Iterable[CatalogModel], limits: CatalogSettings) -> list[CatalogModel]:
    """Return the models, with those beyond a limit marked as skipped; earlier reasons stay."""
    return [_limited(model, limits) for model in models]


def too_large(parameters: int, limits: CatalogSettings) -> str | None:
    """Return why a network with this many parameters is skipped, or None."""
    if parameters <= limits.max_parameters:
        return None
    return (
        f"too many parameters: {parameters:,} are above the limit of {limits.max_parameters:,}; "
        "NNLITE_CATALOG__MAX_PARAMETERS raises it"
    )


def _limited(model: CatalogModel, limits: CatalogSettings) -> CatalogModel:
    reason = model.skipped or _unprintable(model) or _excluded(model, limits) or _too_wide(model, limits)
    if reason is None and model.parameters is not None:
        reason = too_large(model.parameters, limits)
    return model if reason == model.skipped else replace(model, skipped=reason)


def _unprintable(model: CatalogModel) -> str | None:
    # It would be in tables, logs, and the names of files.
    if model.name.isprintable():
        return None
    return f"name: {model.name!r} has characters that cannot be printed; rename the file"


def _excluded(model: CatalogModel, limits: CatalogSettings) -> str | None:
    for pattern in limits.exclude:
        if fnmatchcase(model.name, pattern):
            return f"excluded by name: {pattern} in NNLITE_CATALOG__EXCLUDE"
    return None


def _too_wide(model: CatalogModel, limits: CatalogSettings) -> str | None:
    if model.input_shape is None:
        return None
    height, width = model.input_shape[2:]
    if max(height, width) <= limits.max_input_side:
        return None
    return (
        f"input too large: {height} x {width} pixels are above the limit of {limits.max_input_side}; "
        "NNLITE_CATALOG__MAX_INPUT_SIDE raises it"
    )
