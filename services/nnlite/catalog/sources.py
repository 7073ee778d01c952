"""Registry of model sources: entry points of the group `nnlite.sources`, loaded by name."""

import inspect
from importlib.metadata import EntryPoint, distribution, entry_points
from typing import Any

from nnlite.catalog.model import CatalogError, ModelSource, SourceOptionError
from nnlite.settings import Settings

#: The entry point group; each names a callable that takes the settings and returns a `ModelSource`.
GROUP = "nnlite.sources"


def source_names() -> list[str]:
    """Return the names of the installed sources, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def load_source(name: str, settings: Settings, **overrides: Any) -> ModelSource:
    """Make the source called `name`.

    Args:
        overrides: options of this source, such as `transform` or `path`; None is not passed on.

    Raises:
        CatalogError: there is no such source, it cannot be loaded, or it knows no such override.
    """
    entry = _entry(name)
    if entry is None:
        known = ", ".join(source_names()) or "none is installed"
        raise SourceOptionError(f"unknown source {name}; known: {known}")
    try:
        make = entry.load()
    except (ImportError, AttributeError) as error:
        raise CatalogError(f"source {name} ({entry.value}) cannot be loaded: {error}") from error
    options = {option: value for option, value in overrides.items() if value is not None}
    parameters = inspect.signature(make).parameters
    for option in options:
        if option not in parameters:
            raise SourceOptionError(f"source {name} has no option {option}; omit --{option}")
    source: ModelSource = make(settings, **options)
    return source


def _entry(name: str) -> EntryPoint | None:
    """Return the entry point of a source: nnlite's own first, as metadata of all else take long to read."""
    own = distribution("nnlite").entry_points.select(group=GROUP, name=name)
    return next(iter(own or entry_points(group=GROUP, name=name)), None)
