"""Files as a source: a network's code with or without weights, exported programs, pre-built `.tflite` files.

The files are untrusted: nothing here imports, unpickles or executes one. Code is parsed, the directory of an
archive is read, and the conversion child does everything else.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Final

from nnlite.catalog.files.entry_point import MODULE, find_entry_point
from nnlite.catalog.files.model_toml import Description, describe, parse_inputs
from nnlite.catalog.limits import apply_limits
from nnlite.catalog.model import CatalogError, CatalogModel, text_sha256
from nnlite.catalog.untrusted import checks as file_checks
from nnlite.host.files import file_sha256
from nnlite.settings import Settings
from nnlite.vocabulary import Layout, ModelFormat

#: Files that are a model by themselves.
FORMS: Final = {".py": ModelFormat.PYTHON, ".pt2": ModelFormat.EXPORTED, ".tflite": ModelFormat.PREBUILT}
#: Files that hold the weights of code of the same name.
WEIGHTS: Final = (".safetensors", ".pt", ".pth")


@dataclass(frozen=True, kw_only=True)
class _ModelFile:
    """A model's file."""

    file: Path
    #: Class or factory named by the user.
    entry_point: str | None = None
    #: Name of the model.
    name: str
    #: Whether the user named the file itself and not only its folder: then a problem is an error, not a skip.
    named: bool


class FilesSource:
    """Files and folders as a source of models.

    Args:
        path: files, folders, `FILE.py:NAME` or `MODULE:NAME` for a class or a factory by name.
        input: all inputs, of networks whose file or TOML declares none; see `model_toml.parse_inputs`.
        layout: of networks whose TOML declares none.
    """

    name = "files"

    def __init__(
        self,
        settings: Settings,
        *,
        path: tuple[Path, ...] = (),
        input: tuple[str, ...] = (),
        layout: str | None = None,
    ) -> None:
        if not path:
            raise CatalogError("source files needs a path: --path FILE or --path FOLDER")
        self._settings = settings
        self._paths = path
        self._inputs = parse_inputs(input)
        self._layout = None if layout is None else _layout(layout)
        self._codes: dict[str, str] = {}
        self._files: dict[str, Path] = {}

    def models(self) -> list[CatalogModel]:
        """Return every model, skipped ones included, sorted by name."""
        try:
            models = [self._model(each) for _, each in sorted(self._named().items())]
        except PermissionError as error:
            raise CatalogError(
                f"account {os.geteuid()} may not read {error.filename}; give it read permission"
            ) from error
        return apply_limits(models, self._settings.catalog)

    def _named(self) -> dict[str, _ModelFile]:
        named: dict[str, _ModelFile] = {}
        for path in self._paths:
            for each in _model_files(path):
                if (other := named.setdefault(each.name, each)).file != each.file:
                    raise CatalogError(
                        f"two models are called {each.name}: {other.file} and {each.file}; "
                        "rename one, or give the folder above both"
                    )
        return named

    def code(self, model: CatalogModel) -> str:
        """Return the model's code as it was when it was listed."""
        return self._codes[str(model.code_sha256)]

    def transform_code(self, model: CatalogModel) -> None:
        """Files have no transform."""

    def weights_file(self, model: CatalogModel) -> Path:
        """Return the model's file; CatalogError if it was edited since it was listed."""
        return file_checks.unchanged_file(self._files[model.weights], model.weights)

    def _model(self, model_file: _ModelFile) -> CatalogModel:
        bare = CatalogModel(
            source=self.name,
            name=model_file.name,
            model_format=FORMS.get(model_file.file.suffix, ModelFormat.PYTHON),
        )
        try:
            return self._described(model_file, bare)
        except CatalogError as error:
            if model_file.named:
                raise
            return replace(bare, skipped=str(error))

    def _described(self, model_file: _ModelFile, bare: CatalogModel) -> CatalogModel:
        if model_file.file.suffix in WEIGHTS:
            self._check(model_file.file)
            code = model_file.file.with_suffix(".py")
            if code.is_file():
                raise CatalogError(f"{model_file.file.name} has weights only; name its code: {code}")
            raise CatalogError(f"weights without code: no {code.name} next to {model_file.file.name}")
        description = describe(model_file.file) if model_file.file.exists() else Description()
        manifest = description.manifest
        model = replace(
            bare,
            task=manifest.task,
            dataset=manifest.dataset,
            metric=manifest.metric,
            accuracy=manifest.accuracy,
            configuration_source=description.file.name if description.file else "default",
            inputs=self._inputs or description.inputs,
            layout=self._layout or manifest.layout or Layout.NHWC,
        )
        if model.model_format is ModelFormat.PYTHON:
            return self._with_code(model_file, model, description)
        self._check(model_file.file)
        if model.model_format is ModelFormat.PREBUILT:
            model = replace(model, inputs=(), layout=Layout.AS_IS)
        return self._with_file(model, model_file.file)

    def _with_code(
        self, model_file: _ModelFile, model: CatalogModel, description: Description
    ) -> CatalogModel:
        manifest = description.manifest
        entry = model_file.entry_point or manifest.class_ or manifest.factory
        if model_file.file.exists():
            code = file_checks.read_code(model_file.file)
            entry = find_entry_point(code, model_file.file.name, entry)
        else:
            code, entry = _import_of(model_file.file.name)
        if not model.inputs:
            raise CatalogError(
                f"no input shape: {model_file.name} declares none; give it with --input 1x3x224x224, or with "
                f'inputs = ["1x3x224x224"] in {model_file.file.stem}.toml next to it'
            )
        sha256 = text_sha256(code)
        self._codes[sha256] = code
        model = replace(
            model, code_sha256=sha256, entry_point=entry, hyperparameters=dict(manifest.arguments)
        )
        weights = _weights(model_file.file, description) if model_file.file.exists() else None
        if weights is None:
            return model
        self._check(weights)
        return self._with_file(model, weights)

    def _with_file(self, model: CatalogModel, file: Path) -> CatalogModel:
        sha256 = file_sha256(file)
        self._files[sha256] = file
        return replace(model, weights=sha256, weights_suffix=".pt" if file.suffix == ".pth" else file.suffix)

    def _check(self, file: Path) -> None:
        file_checks.check(file, self._settings.catalog.max_file_mb)


def is_module(path: Path) -> bool:
    """Return whether a path is `MODULE:NAME` of an installed module, and not a file."""
    return MODULE.fullmatch(str(path)) is not None and not path.exists()


def _model_files(path: Path) -> Iterator[_ModelFile]:
    """Yield the models of a path."""
    if path.is_dir():
        yield from _in_folder(path)
    elif path.exists():
        if path.suffix not in (*FORMS, *WEIGHTS):
            known = ", ".join(FORMS)
            raise CatalogError(f"{path} is not a model: a model is a folder or a file that ends in {known}")
        yield _ModelFile(file=path, name=path.name, named=True)
    else:
        file, _, entry = str(path).rpartition(":")
        if is_module(path):
            yield _ModelFile(file=path, entry_point=entry, name=str(path), named=True)
        elif entry.isidentifier() and Path(file).suffix == ".py" and Path(file).exists():
            yield _ModelFile(
                file=Path(file), entry_point=entry, name=f"{Path(file).name}:{entry}", named=True
            )
        else:
            raise CatalogError(f"no such file or folder: {path}")


def _in_folder(folder: Path) -> Iterator[_ModelFile]:
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        and file.suffix in (*FORMS, *WEIGHTS)
        and file.name != "__init__.py"
        and not any(part.startswith((".", "__pycache__")) for part in file.relative_to(folder).parts)
    ]
    codes = {file.with_suffix("") for file in files if file.suffix == ".py"}
    for file in files:
        if file.suffix in FORMS or file.with_suffix("") not in codes:
            yield _ModelFile(file=file, name=file.relative_to(folder).as_posix(), named=False)
    if not files:
        raise CatalogError(f"no model in {folder}: no file there ends in {', '.join(FORMS)}")


def _weights(file: Path, description: Description) -> Path | None:
    """Return the weights of code: named by its TOML, or the file of the same name next to it."""
    if description.weights is not None:
        return description.weights
    candidates = [candidate for suffix in WEIGHTS if (candidate := file.with_suffix(suffix)).is_file()]
    if len(candidates) > 1:
        names = ", ".join(candidate.name for candidate in candidates)
        raise CatalogError(f"several weights: {names} are next to {file.name}; name one in {file.stem}.toml")
    return candidates[0] if candidates else None


def _import_of(name: str) -> tuple[str, str]:
    """Return code that imports NAME of `MODULE:NAME`, and NAME; a comment adds the version to its hash."""
    module, _, entry = name.partition(":")
    package = module.partition(".")[0]
    distributions = packages_distributions().get(package, [])
    if not distributions:
        raise CatalogError(
            f"module {package} is not installed here, so {name} cannot be named; install it, "
            f"or give the file: --path FOLDER/FILE.py:{entry}"
        )
    installed = ", ".join(f"{distribution} {version(distribution)}" for distribution in sorted(distributions))
    return f"from {module} import {entry}  # {installed}\n", entry


def _layout(text: str) -> Layout:
    try:
        return Layout(text)
    except ValueError as error:
        raise CatalogError(f"layout {text!r} is none of {', '.join(Layout)}") from error
