"""Identities and cache keys are those of release 0.1, but for `dynamic`: what users have stays known."""

import json
from typing import Any

import pytest

from nnlite.catalog.model import CatalogModel
from unit.catalog import identities

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return json.loads(identities.RECORDED.read_text())


@pytest.fixture(scope="module")
def of_lemur(whole_lemur: list[CatalogModel]) -> dict[str, Any]:
    with identities.with_recorded_versions():
        return identities.lemur_record(whole_lemur)


@pytest.mark.parametrize("what", ["models", "samples", "parts", "identities"])
def test_every_model_of_lemur_has_its_recorded_identity(what, recorded, of_lemur):
    assert of_lemur[what] == recorded["lemur"][what]


@pytest.mark.parametrize("what", ["cache_keys_of_first", "cache_keys"])
def test_artifacts_in_every_precision_have_their_recorded_keys(what, recorded, of_lemur):
    assert of_lemur[what] == recorded["lemur"][what]


def test_every_configuration_has_its_recorded_identity(recorded, lemur_archive, tmp_path):
    listed = identities.configurations(lemur_archive, tmp_path)
    assert identities.configuration_record(listed) == recorded["configurations"]


def test_generated_models_have_their_recorded_names_and_identities(recorded, tmp_path):
    assert identities.identities(identities.generated_models(tmp_path)) == recorded["nngpt"]


def test_models_of_files_have_their_recorded_identities(recorded, tmp_path):
    assert identities.identities(identities.file_models(tmp_path)) == recorded["files"]
