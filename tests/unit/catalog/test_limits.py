"""Limits on models, the same for every source."""

import pytest

from nnlite.catalog.limits import apply_limits
from nnlite.settings.groups import CatalogSettings
from toys import toy_model


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "a\u202eb", "a\x00b"])
def test_a_name_that_a_terminal_would_interpret_is_skipped_and_written_out(name: str) -> None:
    (model,) = apply_limits([toy_model(name, code="")], CatalogSettings())
    assert model.skipped == f"name: {name!r} has characters that cannot be printed; rename the file"
    assert model.skipped.isprintable()


@pytest.mark.parametrize("name", ["ResNet@svhn,norm_64", "ü net", "[red]"])
def test_other_names_are_taken(name: str) -> None:
    (model,) = apply_limits([toy_model(name, code="")], CatalogSettings())
    assert model.skipped is None
