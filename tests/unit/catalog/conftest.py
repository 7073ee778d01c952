"""Fixtures of the catalog's tests."""

from pathlib import Path
from typing import Any

import pytest

from nnlite.catalog.lemur.source import LemurSource
from nnlite.catalog.model import CatalogError, CatalogModel
from nnlite.settings import Settings, load_settings
from nnlite.settings.groups import CatalogSettings
from unit.catalog.copies import Lemur


@pytest.fixture(scope="session")
def lemur_archive() -> Path:
    """The real LEMUR; the test is skipped where this machine does not have it."""
    try:
        return LemurSource(load_settings()).archive.path
    except CatalogError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def whole_lemur(lemur_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> list[CatalogModel]:
    """Every model of the real LEMUR, as its source lists them."""
    settings = load_settings()
    home = tmp_path_factory.mktemp("home")
    return LemurSource(settings.model_copy(update={"home": home, "lemur": lemur_archive})).models()


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
