"""Catalog rows of generated models, from what their generator wrote; keeps their code until a submission."""

from functools import cached_property

from nnlite.catalog.lemur.archive import Archive
from nnlite.catalog.lemur.expected_input import ExpectedInput, ExpectedInputs, classes_of
from nnlite.catalog.lemur.location import find_lemur
from nnlite.catalog.lemur.shapes import committed_transforms
from nnlite.catalog.lemur.tasks import why_unsupported
from nnlite.catalog.model import CatalogError, CatalogModel, text_sha256
from nnlite.catalog.nngpt.folder import Generated
from nnlite.settings import Settings

#: Digits of a code's hash in a model's name, because the next run reuses the tags.
DIGITS = 8


class GeneratedRows:
    """Makes catalog rows of generated models."""

    def __init__(self, settings: Settings, source: str) -> None:
        self._settings, self._source = settings, source
        self._texts: dict[str, str] = {}

    def text(self, sha256: str | None) -> str | None:
        """Return the code that has this hash, as it was when its row was made; None for None."""
        return None if sha256 is None else self._texts[sha256]

    def row(self, generated: Generated) -> CatalogModel:
        """Return the row of a model; its code and its transform's are kept."""
        code_sha256 = self._keep(generated.code) if generated.code else None
        transform_sha256, expected = self._input(generated)
        config = generated.training_config
        return CatalogModel(
            source=self._source,
            name=f"{generated.tag}-{code_sha256[:DIGITS]}" if code_sha256 else generated.tag,
            code_sha256=code_sha256,
            **config._asdict(),
            transform_sha256=transform_sha256,
            hyperparameters=generated.hyperparameters,
            configuration_source=generated.configuration_source,
            input_shape=expected.shape.batch_of_one if expected.shape else None,
            input_dtype=expected.shape.dtype if expected.shape else "float32",
            inputs=expected.inputs,
            classes=classes_of(config, self._settings.catalog),
            accuracy=generated.accuracy,
            skipped=generated.skipped or expected.skipped,
        )

    def _input(self, generated: Generated) -> tuple[str | None, ExpectedInput]:
        """Return the hash of the transform's code, if available, and the resulting input."""
        config = generated.training_config
        name, sizes = config.transform, self._settings.catalog
        if (unsupported := why_unsupported(config.task, generated.code)) is not None:
            return None, ExpectedInput(None, unsupported)
        if generated.transform_code is not None:
            sha256 = self._keep(generated.transform_code)
            return sha256, ExpectedInputs({name: sha256}, sizes).of(config)
        digits = committed_transforms().get(name)
        if digits is None:
            missing = f"transform missing: {name} is none of LEMUR's, and there is no tr.py"
            return None, ExpectedInput(None, generated.skipped or missing)
        expected = ExpectedInputs({name: digits}, sizes).of(config)
        code = self._lemur_transforms.get(name)
        if code is not None and text_sha256(code).startswith(digits):
            return self._keep(code), expected
        return None, expected

    @cached_property
    def _lemur_transforms(self) -> dict[str, str]:
        """LEMUR's transforms on this machine; without LEMUR, the committed table has their shapes."""
        try:
            archive: Archive = find_lemur(self._settings)
            return archive.transforms()
        except CatalogError:
            return {}

    def _keep(self, text: str) -> str:
        sha256 = text_sha256(text)
        self._texts[sha256] = text
        return sha256
