"""Plugin sources: installing a distribution is all that it takes."""

import importlib
from pathlib import Path

import pytest

from nnlite.campaigns.request import Request
from nnlite.catalog.model import CatalogError
from nnlite.catalog.sources import load_source, source_names
from nnlite.cli.parsing import selection

TOY = """
from nnlite.catalog.model import CatalogModel, text_sha256

class ToySource:
    name = "toy"

    def __init__(self, settings, *, dataset=None):
        self.settings, self.dataset = settings, dataset

    def models(self):
        return [
            CatalogModel(
                source="toy",
                name=name,
                code_sha256=text_sha256(self.code(None)),
                task="img-classification",
                dataset="cifar-10",
                metric="acc",
                transform=None,
                transform_sha256=None,
                hyperparameters={},
                configuration_source="default",
                input_shape=(1, 3, 8, 8),
                classes=10,
            )
            for name in ("one", "two")
        ]

    def code(self, model):
        return "class Net: pass"
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution whose entry points name sources."""

    def run(**sources: str) -> None:
        folder = Path(tmp_path / "site-packages")
        information = folder / "toy_source-1.0.dist-info"
        information.mkdir(parents=True)
        (folder / "toy_source.py").write_text(TOY)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-source\nVersion: 1.0\n")
        lines = [f"{name} = {target}" for name, target in sources.items()]
        (information / "entry_points.txt").write_text("\n".join(["[nnlite.sources]", *lines]))
        monkeypatch.syspath_prepend(str(folder))
        importlib.invalidate_caches()

    return run


def test_an_installed_source_is_found_by_its_name(install, make_settings):
    install(toy="toy_source:ToySource")
    settings = make_settings(None)
    source = load_source("toy", settings)
    assert source.name == "toy"
    assert source.settings is settings
    assert [model.name for model in source.models()] == ["one", "two"]
    assert "toy" in source_names()


def test_a_toy_source_is_submitted_like_any_other(install, make_settings):
    install(toy="toy_source:ToySource")
    request = Request(source="toy", models=("one",))
    models, source = selection.resolve(request, make_settings(None))
    assert [model.name for model in models] == ["one"]
    assert source.code(models[0]) == "class Net: pass"


def test_an_unknown_source_lists_the_known_ones(install, make_settings):
    install(toy="toy_source:ToySource")
    with pytest.raises(CatalogError, match=r"unknown source lmur; known: .*toy"):
        load_source("lmur", make_settings(None))


def test_options_reach_a_source_that_supports_them(install, make_settings):
    install(toy="toy_source:ToySource")
    assert load_source("toy", make_settings(None), dataset="mnist", transform=None).dataset == "mnist"


def test_an_unsupported_option_of_a_source_is_an_error(install, make_settings):
    install(toy="toy_source:ToySource")
    with pytest.raises(CatalogError, match="source toy has no option transform"):
        load_source("toy", make_settings(None), transform="echo")


@pytest.mark.parametrize("target", ["nowhere_to_be_found:Source", "toy_source:Absent"])
def test_a_source_that_cannot_be_loaded_is_named(target, install, make_settings):
    install(broken=target)
    with pytest.raises(CatalogError, match=f"source broken .{target}. cannot be loaded"):
        load_source("broken", make_settings(None))
