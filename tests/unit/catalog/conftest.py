"""What the catalogue's tests share."""

from pathlib import Path
from typing import Any

import pytest

from nnlite.settings import CatalogSettings, Settings
from unit.catalog.copies import Lemur


@pytest.fixture
def lemur() -> Lemur:
    """An empty LEMUR with one transform, to be filled."""
    return Lemur()


@pytest.fixture
def make_settings(tmp_path: Path):
    """Settings for one copy of LEMUR, whatever the environment says."""

    def make(lemur: Path | None, **catalog: Any) -> Settings:
        return Settings(
            home=tmp_path / "home", lemur=lemur, catalog=CatalogSettings(**catalog), _env_file=None
        )

    return make
