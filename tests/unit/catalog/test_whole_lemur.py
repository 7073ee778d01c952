"""The real LEMUR, where this machine has it: the counts that the choice of configurations must give."""

import re
from collections import Counter
from itertools import islice

import pytest

from nnlite.catalog.lemur import known_code
from nnlite.catalog.lemur.archive import WheelArchive
from nnlite.catalog.lemur.configuration import PREFERRED_BATCH
from nnlite.catalog.model import CatalogModel
from nnlite.catalog.selection import select
from nnlite.catalog.untrusted.source_text import why_unusable

pytestmark = pytest.mark.process

#: Names that a program gave, as in tools/lemur_coverage.py, which imports the converter.
_GENERATED = re.compile(r"(ga|alt|ast|rag|rl|FractalNet)-|[0-9a-f]{32}$")


@pytest.fixture
def models(whole_lemur: list[CatalogModel]) -> list[CatalogModel]:
    return whole_lemur


def test_every_model_has_the_configuration_that_the_rule_gives(models):
    defaults = [model for model in models if model.configuration_source == "default"]
    batches = [m.hyperparameters["batch"] for m in models if m.configuration_source != "default"]
    assert len(models) == 10_482
    assert sum(batch <= PREFERRED_BATCH for batch in batches) == 6_263
    assert sum(batch > PREFERRED_BATCH for batch in batches) == 1_548
    assert len(defaults) == 2_671
    assert sum(model.name.startswith("ga-") for model in defaults) == 2_540


def test_every_usable_model_has_a_shape_and_classes_and_an_identity_of_its_own(models):
    usable = [model for model in models if model.skipped is None]
    assert all((model.input_shape or model.inputs) and model.classes for model in usable)
    # A few files are copies of each other.
    assert len({model.identity for model in usable}) > 0.99 * len(usable)


def test_few_models_are_skipped_and_each_has_a_reason(models):
    reasons = Counter(model.skipped.split(":")[0] for model in models if model.skipped)
    assert sum(reasons.values()) < 0.01 * len(models)
    assert {"complex input", "task obj-detection", "task txt-image"} == set(reasons)
    assert sum(reasons.values()) == 19
    named = [model for model in models if not _GENERATED.match(model.name)]
    assert (len(named), sum(model.skipped is not None for model in named)) == (149, 11)


def test_code_of_every_model_is_known_and_defines_a_network(models, lemur_archive):
    hashes = {model.code_sha256 for model in models}
    codes = [code for _, code in islice(WheelArchive(lemur_archive).models(), 0, None, 500)]

    assert known_code.table_of(hashes) == known_code.TABLE.read_bytes()
    assert [why_unusable(code) for code in codes] == [None] * len(codes)


def test_a_seeded_sample_is_the_same_on_every_machine(models):
    assert [m.name for m in select(models, limit=60, seed=7)] == [
        m.name for m in select(models[::-1], limit=60, seed=7)
    ]
