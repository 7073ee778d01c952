"""Which models a command means."""

import pytest

from nnlite.catalog.model import CatalogError, CatalogModel
from nnlite.catalog.selection import select


def a_model(name: str, skipped: str | None = None) -> CatalogModel:
    return CatalogModel(
        source="toy",
        name=name,
        code_sha256="0",
        task="img-classification",
        dataset="mnist",
        metric="acc",
        transform=None,
        transform_sha256=None,
        hyperparameters={},
        configuration_source="default",
        input_shape=None,
        classes=10,
        skipped=skipped,
    )


MODELS = [
    *(a_model(f"ga-{n:03}") for n in range(100)),
    a_model("ResNet"),
    a_model("Talker", skipped="task txt-generation"),
]


def names(**arguments) -> list[str]:
    return [model.name for model in select(MODELS, **arguments)]


def test_without_a_selection_all_models_are_selected_skipped_ones_included():
    assert names() == sorted(model.name for model in MODELS)


def test_named_models_keep_their_order_and_are_not_repeated():
    assert names(names=["ga-007", "ResNet", "ga-007"]) == ["ga-007", "ResNet"]


def test_a_skipped_model_that_is_named_is_selected():
    (talker,) = select(MODELS, names=["Talker"])
    assert talker.skipped == "task txt-generation"
    assert names(names=["Talker"], match="*", limit=2) == ["Talker", "ResNet"]


def test_a_pattern_selects_models_in_addition_to_names():
    assert names(names=["ResNet"], match="ga-00[12]") == ["ResNet", "ga-001", "ga-002"]


def test_a_limit_takes_the_first_usable_ones():
    assert names(limit=3) == ["ResNet", "ga-000", "ga-001"]
    assert "Talker" not in names(limit=500)


def test_equal_seeds_draw_equal_samples_and_different_seeds_different_ones():
    drawn = names(limit=10, seed=7)
    assert drawn == names(limit=10, seed=7) == sorted(drawn)
    assert len(set(drawn)) == 10
    assert drawn != names(limit=10, seed=8)
    assert drawn != names(limit=10)


def test_the_sample_does_not_depend_on_the_order_of_the_catalog():
    assert [m.name for m in select(MODELS[::-1], limit=10, seed=7)] == names(limit=10, seed=7)


def test_samples_are_uniform():
    counts = {name: 0 for name in names(match="ga-*")}
    for seed in range(200):
        for name in names(match="ga-*", limit=10, seed=seed):
            counts[name] += 1
    assert min(counts.values()) > 0
    assert max(counts.values()) < 60  # 20 expected; more is one in a million


def test_an_unknown_name_is_an_error_with_close_matches():
    with pytest.raises(CatalogError, match="unknown model resnet; did you mean ResNet"):
        names(names=["resnet", "ga-001"])


def test_a_long_list_of_unknown_names_is_shortened():
    with pytest.raises(CatalogError, match="and 15 more unknown names"):
        names(names=[f"unknown{n}" for n in range(20)])


def test_a_pattern_that_matches_nothing_is_an_error():
    with pytest.raises(CatalogError, match=r"none of 102 names matches 'vit\*'"):
        names(match="vit*")


def test_a_limit_below_the_names_given_is_an_error():
    with pytest.raises(CatalogError, match="limit 1 is below the 2 models named"):
        names(names=["ResNet", "ga-001"], limit=1)
